"""The classifier's figures, on embeddings whose answers are known."""

import numpy as np
import pytest
import torch

from repmet.benchmarks import few_shot_images
from repmet.benchmarks.few_shot_images import calibration_error, measure


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 0])  # bins of 0.9: one of two right; of 0.7: right; of 0.6: wrong
    assert calibration_error(probabilities, labels) == pytest.approx((abs(1 - 1.8) + abs(1 - 0.7) + abs(0 - 0.6)) / 4)


def test_far_classes_are_told_apart_and_strangers_are_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(12).repeat_interleave(12)
    embeddings = torch.eye(12, 16)[labels] + 0.02 * torch.randn(144, 16, generator=generator)
    rows = {row["metric"]: row["mean"] for row in measure(embeddings, labels, 5, 5, 1, 0.1, episodes=20, seed=0)}
    assert rows["5-way 5-shot accuracy"] == 1
    assert rows["5-way 5-shot AUROC of unknown"] == 1
    assert rows["5-way 5-shot unknown refused"] == 1
    assert rows["5-way 5-shot known refused"] == pytest.approx(0.1, abs=0.05)
    assert rows["5-way 5-shot calibration error"] < 0.05
    blind = {row["metric"]: row["mean"] for row in measure(torch.randn(144, 16), labels, 5, 5, 1, 0.1, episodes=20, seed=0)}
    assert blind["5-way 5-shot accuracy"] == pytest.approx(0.2, abs=0.08)
    assert blind["5-way 5-shot AUROC of unknown"] == pytest.approx(0.5, abs=0.08)


def test_too_few_classes_is_one_line(tmp_path, capsys) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.png").touch()
    assert few_shot_images.main([str(tmp_path)]) == 2
    assert "10 classes of 6 images are needed, 0 are there" in capsys.readouterr().err
