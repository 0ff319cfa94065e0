"""Latency: ratios are those of neighbouring turns, and what is compared sees other images each time."""

import numpy as np
import pytest

from repmet.benchmarks import latency_cases
from repmet.benchmarks.export_parity import score_difference
from repmet.benchmarks.latency import compared
from repmet.benchmarks.latency_cases import CLASSES, PEERS, RUNTIMES, SIZE, TORCH, marks, scene
from repmet.benchmarks.latency_peers import PROMPTED


def test_each_runtime_against_each_of_the_others() -> None:
    names = [*RUNTIMES, TORCH, *PEERS]
    times = {name: [10.0 * (k + 1), 20.0 * (k + 1), 30.0 * (k + 1)] for k, name in enumerate(names)}
    sizes, peaks = ({name: float(k) for k, name in enumerate(names)} for _ in range(2))
    results = compared(times, sizes, peaks)
    assert [(r.case.split(", ")[-1], r.peer) for r in results] == [(a, b) for a in RUNTIMES for b in (TORCH, *PEERS)]
    assert (
        results[0].ratio == pytest.approx(len(RUNTIMES) + 1)
        and results[0].ours_ms == 20
        and results[0].iqr == pytest.approx(0)
    )
    assert (results[-1].peer_mib, results[-1].ours_mb) == (len(names) - 1.0, len(RUNTIMES) - 1.0)
    assert any("INT8" in name for name in RUNTIMES)


def test_peers_that_are_not_installed_are_left_out(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(latency_cases, "FOLDER", tmp_path)
    assert latency_cases.peers() == list(PEERS)
    assert "OWLv2" in capsys.readouterr().err
    (tmp_path / "ultralytics").mkdir()
    assert [name for name in latency_cases.peers() if "YOLOE" in name] == [n for n in PROMPTED if "YOLOE" in n]
    assert all("(" in name for name in (*PEERS, *PROMPTED))  # each with its licence


def test_scenes_and_marks() -> None:
    first, second = scene(1), scene(2)
    assert first.shape == (*SIZE, 3) and first.dtype == np.uint8 and (first != second).any()
    np.testing.assert_array_equal(first, scene(1))
    shown = marks()
    assert len(shown) == CLASSES
    for pairs in shown.values():
        for image, (x1, y1, x2, y2) in pairs:
            assert 0 <= x1 < x2 <= image.shape[1] and 0 <= y1 < y2 <= image.shape[0]


def test_scores_of_the_boxes_that_both_have() -> None:
    import torch

    from repmet.detection.embedding.embedded_image import EmbeddedImage
    from repmet.detection.exported.look import Seen
    from repmet.detection.scoring.logistic import LogisticRegression
    from repmet.detection.scoring.rule import FewShotRule

    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 30, 30]])
    rows = torch.eye(2)
    scorer = LogisticRegression(rule=FewShotRule(), weight=torch.eye(2), bias=torch.zeros(2))
    expected = EmbeddedImage(boxes, boxes, torch.ones(2), {"baseline_roi": rows}, {})
    arrays = {"boxes": boxes.numpy(), "proposals": boxes.numpy()[::-1].copy(), "objectness": np.ones(2, np.float32)}
    none = dict.fromkeys(("marked", "objects", "object_scores"), np.zeros((0, 4), np.float32))
    seen = Seen(**arrays, embeddings=rows.numpy()[::-1].copy(), **none)
    assert score_difference(scorer, expected, seen) == 0
    moved = Seen(**arrays, embeddings=rows.numpy(), **none)
    assert score_difference(scorer, expected, moved) == pytest.approx(float(np.tanh(0.5)), abs=1e-6)
