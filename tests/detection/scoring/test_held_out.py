"""Finds in marked images that the fit has not seen: as by fitting to the other images alone."""

import numpy as np

from repmet.detection.scoring.held_out import held_out_finds, hits
from repmet.detection.scoring.span_fit import Span, fit
from repmet.detection.scoring.training_rows import MarkedRegions, training_rows


def image(rng: np.random.Generator, label: int) -> MarkedRegions:
    """Nine boxes in a row, the first an object that looks like its class."""
    boxes = np.array([[20.0 * k, 0, 20.0 * k + 18, 18] for k in range(9)])
    looks = rng.normal(size=(9, 40))
    looks[0] += 6 * np.eye(40)[label]
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    return MarkedRegions(boxes, looks, np.full(9, 0.8), boxes[:1], np.array([label]), looks[:1])


def by_score(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores)


def test_each_image_is_searched_by_what_the_others_taught() -> None:
    rng = np.random.default_rng(0)
    images = [image(rng, k % 2) for k in range(4)]
    rows = training_rows(images, 2, "complete")
    span = Span(rows.features)
    got = held_out_finds(images, rows, span, 2, decay=0.01, objectness=2, suppress=by_score, marks="complete")
    assert got.marks.tolist() == [2, 2] and got.right.sum() == 4
    expected = []
    for k, shown in enumerate(images):
        others = rows[rows.images != k]
        weight, bias = fit(others.features.astype(np.float64), others.labels, others.shares(2), 2, 0.01)
        z = np.exp(shown.features @ weight.T + bias)
        expected += [(z / z.sum(1, keepdims=True))[:, :2] * 0.8**2]
    for k, scores in enumerate(expected):
        for c in range(2):
            part = got.scores[(2 * k + c) * 9 : (2 * k + c + 1) * 9]
            np.testing.assert_allclose(part, np.sort(scores[:, c])[::-1], atol=2e-4)


def test_one_image_holds_nothing_out() -> None:
    images = [image(np.random.default_rng(0), 0)]
    rows = training_rows(images, 1)
    assert held_out_finds(images, rows, Span(rows.features), 1, decay=0.01, objectness=0, suppress=by_score) is None


def test_a_class_marked_in_one_image_is_not_looked_for_there() -> None:
    rng = np.random.default_rng(1)
    images = [image(rng, 0), image(rng, 0), image(rng, 1)]
    rows = training_rows(images, 2, "complete")
    got = held_out_finds(images, rows, Span(rows.features), 2, decay=0.01, objectness=0, suppress=by_score)
    assert got.marks.tolist() == [2, 0] and set(got.labels.tolist()) == {0}
    assert len(got.scores) == 3 * 9  # in the third image whatever it finds is wrong


def test_what_scores_like_an_object_beside_the_marks_may_be_one() -> None:
    rng = np.random.default_rng(2)
    images = [image(rng, 0) for _ in range(4)]
    for shown in images:  # a second object that nobody has marked
        shown.features[3] = shown.features[0]
    rows = training_rows(images, 1, "partial")
    span = Span(rows.features)
    kinds = {
        marks: held_out_finds(images, rows, span, 1, decay=0.01, objectness=0, suppress=by_score, marks=marks)
        for marks in ("partial", "complete")
    }
    on_marks = np.sort(kinds["complete"].scores[kinds["complete"].right])
    least = on_marks[2] + 0.25 * (on_marks[3] - on_marks[2])  # the 75 % quantile of four
    wrong = {marks: np.sort(got.scores[~got.right]) for marks, got in kinds.items()}
    assert wrong["complete"][-1] >= least
    assert np.array_equal(wrong["partial"], wrong["complete"][wrong["complete"] < least])
    assert np.array_equal(np.sort(kinds["partial"].scores[kinds["partial"].right]), on_marks)


def test_an_object_is_hit_once() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10], [0, 0, 2, 2]], float)
    assert hits(boxes, np.array([[0, 0, 10, 10], [50, 0, 60, 10]], float)).tolist() == [True, False, True, False]
    assert hits(boxes, np.zeros((0, 4))).tolist() == [False] * 4
