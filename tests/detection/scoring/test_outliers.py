"""Marks that look unlike their class are named with what they resemble; a class never loses all of its marks."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from parts import parts

from repmet.detection.scoring.outliers import mark_features, outliers, without_outliers
from repmet.detection.scoring.representatives import SupportSet


def unit(*rows: tuple[float, float]) -> np.ndarray:
    points = np.array(rows, np.float64)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_the_class_that_a_mark_resembles_more_than_its_own() -> None:
    features = unit((1, 0), (1, 0.1), (0, 1), (0.1, 1), (0, 1.2), (0.05, 1))
    assert outliers(features, np.array([0, 0, 0, 1, 1, 1])).tolist() == [-1, -1, 1, -1, -1, -1]
    assert outliers(features, np.array([2, 2, 2, 5, 5, 5])).tolist() == [-1, -1, 5, -1, -1, -1]
    assert outliers(features, np.array([0, 0, 0, 1, 2, 2])).tolist() == [-1, -1, 2, -1, -1, -1]  # the nearest class


def test_of_two_marks_or_one_class_nothing_can_be_told() -> None:
    features = unit((1, 0), (0, 1), (0, 1.1), (0.1, 1))
    assert outliers(features, np.array([0, 0, 1, 1])).tolist() == [-1] * 4
    assert outliers(features, np.zeros(4, int)).tolist() == [-1] * 4


def supports(boxes: list) -> SupportSet:
    data = parts()
    return SupportSet(data.classes, boxes, data.records, data.embedded)


def test_a_wrong_label_is_left_out_and_the_others_stay() -> None:
    nut, bolt = ([(f"t{k}", b) for k in range(4)] for b in (0, 1))
    spoilt = supports([[*bolt[:3], nut[3]], nut[:3]])
    features, labels = mark_features(spoilt)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert F.cosine_similarity(*spoilt.embedded["t3"].annotated["baseline_roi"], dim=0) < 0.5
    np.testing.assert_array_equal(features[3], spoilt.embedded["t3"].annotated["baseline_roi"][0].numpy())
    assert without_outliers(spoilt).boxes == [bolt[:3], nut[:3]]


def test_a_class_of_which_every_mark_resembles_another_keeps_them() -> None:
    data = parts()
    axes = torch.eye(8)[[0, 1, 2, 0, 0, 1, 1, 2, 2]]  # the first three marks are each seen twice in the other class
    image = replace(data.embedded["t0"], annotated={"baseline_roi": axes})
    marks = [("t0", k) for k in range(9)]
    scattered = SupportSet(data.classes, [marks[:3], marks[3:]], data.records, {"t0": image})
    assert outliers(*mark_features(scattered)).tolist() == [1, 1, 1] + [-1] * 6
    assert without_outliers(scattered).boxes == [marks[:3], marks[3:]]
