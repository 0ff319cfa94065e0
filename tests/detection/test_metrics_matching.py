"""Which box a detection is of, case by case: found, doubled, of another class, difficult, nothing."""

import numpy as np
import pytest

from repmet.detection.metrics import EpisodicMetric, Outcome, episodic_metrics
from repmet.detection.metrics.layout import read_detections, read_ground_truth
from repmet.detection.metrics.matching import match


def test_one_detection_may_find_two_boxes_only_under_repmets_rules():
    truth = np.array([[0, 0, 1, 0, 0, 9, 9], [0, 0, 1, 0, 1, 9, 10]], dtype=float)
    figures = episodic_metrics([[0, 0, 1, 0.5, 0, 0, 9, 10]], truth)
    assert (figures["repmet_pooled"], figures["recall"], figures["pooled_ap"]) == (1.0, 1.0, 0.5)


def test_a_wrong_class_counts_once_a_box_and_background_every_time():
    truth = np.array([[0, 0, 1, 0, 0, 9, 9]], dtype=float)
    detections = [[0, 0, 2, s, 0, 0, 9, 9] for s in (0.9, 0.8, 0.7)] + [[0, 0, 1, s, 50, 50, 60, 60] for s in (0.6, 0.5)]
    counts = episodic_metrics(detections, truth)["counts"]
    assert counts == {"n_detections": 5, "n_ground_truth": 1, "tp": 0, "fp_wrong": 1, "fp_background": 2}


def test_difficult_boxes_are_neither_asked_for_nor_punished():
    truth = np.array([[0, 0, 1, 0, 0, 9, 9, 0], [0, 0, 1, 50, 50, 59, 59, 1]], dtype=float)
    detections = [[0, 0, 1, 0.9, 50, 50, 59, 59], [0, 0, 1, 0.5, 0, 0, 9, 9]]
    figures = episodic_metrics(detections, truth)
    assert figures["repmet_pooled"] == figures["pooled_ap"] == figures["class_map"] == figures["episode_map"] == 1.0
    assert figures["counts"] == {"n_detections": 2, "n_ground_truth": 1, "tp": 1, "fp_wrong": 0, "fp_background": 0}
    truth[1, 7] = 0  # the same box, to be found
    assert episodic_metrics(detections[1:], truth)["recall"] == 0.5


def test_at_an_overlap_of_one_the_very_box_alone_is_right():
    detections = [[0, 1, 1, 0.9, 0, 0, 10, 11], [0, 1, 1, 0.5, 0, 0, 10, 10]]
    figures = episodic_metrics(np.array(detections), np.array([[0, 1, 1, 0, 0, 10, 10]]), iou=1)
    assert figures["recall"] == 1 and figures["pooled_ap"] == 0.5 and figures["counts"]["fp_background"] == 1
    for wrong in (0, 1.0001):
        with pytest.raises(ValueError, match="iou is a fraction"):
            EpisodicMetric(wrong)


@pytest.mark.parametrize("rows", [[0, 1], [1, 0]])
def test_of_two_boxes_of_equal_overlap_the_one_that_is_to_be_found_is_taken(rows):
    """The other is difficult; a detection that goes to it is ignored."""
    truth = np.array([[0, 1, 1, 0, 0, 20, 10, 1], [0, 1, 1, 10, 0, 30, 10, 0]], dtype=float)[rows]
    figures = episodic_metrics(np.array([[0, 1, 1, 0.9, 5, 0, 25, 10]]), truth)
    assert figures["recall"] == figures["pooled_ap"] == 1 and figures["counts"]["n_ground_truth"] == 1


def test_each_outcome_is_told_from_the_others():
    truth = read_ground_truth(np.array([[1, 1, 0, 0, 9, 9, 0], [1, 2, 20, 0, 29, 9, 0], [1, 1, 40, 0, 49, 9, 1]]))
    rows = {
        "RIGHT": [1, 1, 0.9, 0, 0, 9, 9],
        "DUPLICATE": [1, 1, 0.8, 0, 0, 9, 9],
        "WRONG_CLASS": [1, 1, 0.7, 20, 0, 29, 9],
        "IGNORED": [1, 1, 0.6, 40, 0, 49, 9],
        "BACKGROUND": [1, 1, 0.5, 60, 0, 69, 9],
    }
    outcome = match(read_detections(np.array(list(rows.values()))), truth, iou=0.5, plus_one=True).outcome
    assert [Outcome(value).name for value in outcome] == list(rows)
