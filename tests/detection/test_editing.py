"""Corrections: a find is accepted or rejected without the network, moves its class alone, and can be taken back."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from found import everything, same

from repmet.detection import editing, saved_classes
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.few_shot_detector import FewShotDetector


@pytest.fixture(params=["logistic", "repmet"])
def detector(request, glyph_run, support_records) -> FewShotDetector:
    records = sorted(support_records, key=lambda r: r.id)
    names = sorted({n for r in records for n in r.names})
    marks = {n: [(r.path, r.boxes[b]) for r in records for b, label in enumerate(r.names) if label == n] for n in names}
    return FewShotDetector(glyph_run, method=request.param).learn(marks)


@pytest.fixture
def offline(monkeypatch) -> None:
    """Makes the network fail from now on."""

    def call() -> None:
        monkeypatch.setattr(Embedder, "_batch", lambda *_: pytest.fail("the network ran"))

    return call


def scores_of(detector: FewShotDetector, image: Path) -> np.ndarray:
    """Of all proposals and classes."""
    list(detector.detect([image], min_score=0.0))
    embedded = list(detector._kept._images.values())[-1]  # what was looked at last
    return detector.learnt.scorer.scores(embedded)


def points_of(detector: FewShotDetector) -> torch.Tensor:
    scorer = detector.learnt.scorer
    return scorer.weight if detector.method == "logistic" else scorer.representatives


def test_a_find_is_corrected_without_the_network(detector, photos, offline) -> None:
    image = photos / "wide.png"
    find = detector.detect(image, min_score=0.0)[0]
    offline()
    for correct in (detector.accept, detector.reject):
        before, points = scores_of(detector, image), points_of(detector).clone()
        start = time.perf_counter()
        correct(image, find.boxes[0], find.names[0])
        assert time.perf_counter() - start < 2.0
        after = scores_of(detector, image)
        c = int(find.labels[0])
        best = int(before[:, c].argmax())
        change = after[best, c] - before[best, c]
        assert change > -1e-3 if correct.__name__ == "accept" else change < -1e-3
        others = [k for k in range(len(detector.classes)) if k != c]
        assert torch.equal(points_of(detector)[others], points[others])
        detector.undo()
        assert torch.equal(scores_of(detector, image), before)
    with pytest.raises(ValueError, match="nothing to undo"):
        detector.undo()


@pytest.mark.parametrize("detector", ["logistic"], indirect=True)
def test_the_last_word_on_a_region_counts(detector, photos) -> None:
    """Accepted and then rejected is rejected, as if it had never been accepted; rejected and then accepted is a mark."""
    image = photos / "wide.png"
    find = detector.detect(image, min_score=0.0)[0]
    box, name = find.boxes[0], find.names[0]
    marks = count(detector._supports.boxes)
    detector.accept(image, box, name).reject(image, box, name)
    assert (count(detector._supports.boxes), count(detector._supports.rejected)) == (marks, 1)
    assert len(detector.learnt.crops) == marks
    detector.accept(image, box, name)
    assert (count(detector._supports.boxes), count(detector._supports.rejected)) == (marks + 1, 0)


@pytest.mark.parametrize("detector", ["logistic"], indirect=True)
def test_a_rejection_takes_no_mark_of_another_class(detector, photos) -> None:
    """What is a mark of one class is none of another: that was known, and its own class keeps it in every later fit."""
    image = photos / "wide.png"
    find = detector.detect(image, min_score=0.0)[0]
    box, name = find.boxes[0], find.names[0]
    other = next(c for c in detector.classes if c != name)
    detector.accept(image, box, name)
    marks, score = count(detector._supports.boxes), score_at(detector, image, box, name)
    detector.reject(image, box, other)
    assert count(detector._supports.boxes) == marks
    detector.add(other, [(image, (1, 1, 9, 119))])  # fits all classes anew
    assert score_at(detector, image, box, name) > 0.5 * score


def count(by_class) -> int:
    return sum(map(len, by_class))


def score_at(detector: FewShotDetector, image: Path, box: np.ndarray, name: str) -> float:
    detections = detector.detect(image, min_score=0.0)
    here = [
        s
        for s, b, n in zip(detections.scores, detections.boxes, detections.names, strict=True)
        if n == name and np.allclose(b, box, atol=1)
    ]
    return max(here, default=0.0)


def test_so_many_steps_can_be_taken_back(detector, photos, monkeypatch) -> None:
    monkeypatch.setattr(editing, "STEPS_BACK", 3)
    name = detector.classes[0]
    for k in range(5):
        detector.rename(name if k == 0 else f"name {k - 1}", f"name {k}")
    for _ in range(3):
        detector.undo()
    assert "name 1" in detector.classes
    with pytest.raises(ValueError, match="nothing to undo"):
        detector.undo()


def test_a_box_that_nobody_proposed_is_embedded(detector, photos) -> None:
    image = photos / "wide.png"
    supports = len(detector.learnt.embeddings)
    detector.accept(image, (1, 1, 9, 119), "edge")
    assert "edge" in detector.classes and len(detector.learnt.embeddings) > supports
    detector.undo()
    assert "edge" not in detector.classes and len(detector.learnt.embeddings) == supports


def test_every_change_can_be_taken_back(detector, photos, marks_of_one) -> None:
    first = everything(detector, photos)
    name = detector.classes[0]
    steps = [
        lambda: detector.rename(name, "other"),
        lambda: detector.remove("other"),
        lambda: detector.add("more", marks_of_one),
    ]
    for step in steps:
        step()
    for _ in steps:
        detector.undo()
    assert detector.classes[0] == name
    same(everything(detector, photos), first, 1e-6)


@pytest.fixture
def marks_of_one(support_records) -> list:
    record = support_records[0]
    return [(record.path, record.boxes[0])]


def test_rejections_are_kept_in_the_file(detector, glyph_run, photos, tmp_path) -> None:
    image = photos / "wide.png"
    find = detector.detect(image, min_score=0.0)[0]
    detector.reject(image, find.boxes[0], find.names[0])
    detector.save(tmp_path / "classes.pth")
    again = FewShotDetector(glyph_run, method=detector.method).load(tmp_path / "classes.pth")
    same(everything(again, photos), everything(detector, photos), 1e-4)
    if detector.method == "logistic":
        with pytest.raises(ValueError, match="learn from the support images again"):
            again.reject(image, find.boxes[0], find.names[0])


def test_what_cannot_be_corrected_changes_nothing(detector, photos) -> None:
    image, learnt = photos / "wide.png", detector.learnt
    for call, message in (
        (lambda: detector.reject(image, (1, 1, 9, 9), "strange"), "there is no class 'strange'"),
        (lambda: detector.accept(image, (9, 9, 1, 1), detector.classes[0]), "ends before it begins"),
        (lambda: detector.reject(image, (0, 0, 900, 900), detector.classes[0]), "image"),
        (lambda: detector.accept(photos / "gone.png", (1, 1, 9, 9), "x"), "no such image"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            call()
        assert detector.learnt is learnt


def test_embedded_images_are_found_again_by_another_process(glyph_run, support, photos, tmp_path, offline) -> None:
    first = everything(FewShotDetector(glyph_run, cache=tmp_path).learn(support), photos)
    offline()
    again = FewShotDetector(glyph_run, cache=tmp_path).learn(support)
    same(everything(again, photos), first)


def test_objects_of_no_class_are_unknown(detector, photos, monkeypatch) -> None:
    monkeypatch.setattr(saved_classes, "PLAIN_THRESHOLD", 0.5)
    detections = detector.detect(photos / "wide.png", unknown=True, min_score=0.0)
    assert detections.classes[-1] == "unknown" and "unknown" in detections.names
    plain = detector.detect(photos / "wide.png", min_score=0.0)
    known = detections.filter(classes=detector.classes)
    np.testing.assert_array_equal(known.boxes, plain.boxes)
    unknown = detections.filter(classes="unknown")
    sure = plain[plain.scores >= [detector.thresholds[n] for n in plain.names]]
    for box in unknown.boxes:
        x1, y1, x2, y2 = box
        for other in sure.boxes:
            w = max(0, min(x2, other[2]) - max(x1, other[0]))
            h = max(0, min(y2, other[3]) - max(y1, other[1]))
            areas = (x2 - x1) * (y2 - y1) + (other[2] - other[0]) * (other[3] - other[1])
            assert w * h / (areas - w * h) < 0.5
    with pytest.raises(ValueError, match="learn classes first"):
        FewShotDetector(detector.checkpoint).detect(photos / "wide.png", unknown=True)
