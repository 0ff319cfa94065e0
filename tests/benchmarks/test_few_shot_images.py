"""The classifier's figures, on embeddings whose answers are known."""

import numpy as np
import pytest
import torch

from repmet.benchmarks import few_shot_images
from repmet.benchmarks.few_shot_images import Settings, calibration_error, measure


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 0])  # bins of 0.9: one of two right; of 0.7: right; of 0.6: wrong
    assert calibration_error(probabilities, labels) == pytest.approx((abs(1 - 1.8) + abs(1 - 0.7) + abs(0 - 0.6)) / 4)


@pytest.mark.parametrize("head", ["plain", "tuned"])
def test_far_classes_are_told_apart_and_strangers_are_refused(head) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(12).repeat_interleave(12)
    embeddings = torch.eye(12, 16)[labels] + 0.02 * torch.randn(144, 16, generator=generator)
    number = 20 if head == "plain" else 3
    figures = {k: v["mean"] for k, v in measure(embeddings, labels, Settings(5, 5, 1, 0.1, head), number, seed=0).items()}
    assert figures["accuracy"] == figures["auroc"] == figures["unknown_refused"] == 1
    if head == "plain":  # with as many images as dimensions a metric that was made without some is another one
        assert figures["known_refused"] == pytest.approx(0.1, abs=0.05)
    assert figures["ece"] < 0.05


def test_what_is_blind_guesses() -> None:
    labels = torch.arange(12).repeat_interleave(12)
    blind = measure(torch.randn(144, 16), labels, Settings(5, 5, 1, 0.1), 20, seed=0)
    assert blind["accuracy"]["mean"] == pytest.approx(0.2, abs=0.08)
    assert blind["auroc"]["mean"] == pytest.approx(0.5, abs=0.08)


def test_too_few_classes_is_one_line(tmp_path, capsys) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.png").touch()
    assert few_shot_images.main([str(tmp_path)]) == 2
    assert "10 classes of 6 images are needed, 0 are there" in capsys.readouterr().err
