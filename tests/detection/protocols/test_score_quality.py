"""Calibration error, F1 and Platt's numbers against counting by hand; the protocol on classes that are plain to see."""

import numpy as np
import pytest
from parts import parts

from repmet.detection.protocols.score_figures import best_f1, expected_calibration_error, f1_at, platt, prior_rows
from repmet.detection.protocols.score_quality import quality_of_draw
from repmet.detection.protocols.simulated_user import clicks_of_draw
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.rule import FewShotRule

RULE = FewShotRule(support_iou=None, objectness=1.0, score_prior=[[1, 1.5, 3.0, 0.6]])


def test_calibration_error_by_hand() -> None:
    p = np.array([0.95, 0.95, 0.5, 0.5, 0.01])
    right = np.array([True, False, True, False, False])
    # two bins: |0.95 - 0.5| and |0.5 - 0.5|, two finds each; what is below 0.05 does not count
    assert expected_calibration_error(p, right) == pytest.approx(0.45 / 2)


def test_f1_by_hand() -> None:
    scores, right = np.array([0.9, 0.8, 0.7, 0.2]), np.array([True, False, True, True])
    assert f1_at(scores, right, 4, 0.7) == pytest.approx(2 * 2 / (3 + 4))
    assert best_f1(scores, right, 4) == pytest.approx(2 * 3 / (4 + 4))
    assert best_f1(np.zeros(0), np.zeros(0, bool), 4) == 0


def test_platt_finds_the_numbers_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    scores = np.exp(rng.uniform(-6, 0, 50_000))
    right = rng.random(50_000) < 1 / (1 + np.exp(-(1.5 * np.log(scores) + 3)))
    assert platt(scores, right) == pytest.approx((1.5, 3.0), abs=0.1)


def test_the_protocol_where_all_is_plain_to_see() -> None:
    figures = quality_of_draw(parts(), Method("logistic", RULE), 3, 0)
    assert figures["f1"] == figures["f1_best"] == figures["f1_common"] == 1 and figures["false_finds"] == 0
    assert figures["auroc"] == figures["auroc_softmax"] == 1  # bolts are known, nuts are not shown
    assert figures["f1_unknown"] == figures["f1_unknown_best"] == 1
    assert figures["false_finds_empty"] == 0 and 0 <= figures["ece"] < 0.5
    assert {figures[f"{interval}_covered"] for interval in ("precision", "recall")} <= {0.0, 1.0}
    rows = [{"marks": 3} | {name: {"mean": value} for name, value in figures.items() if value is not None}]
    assert prior_rows(rows) == [[3, round(figures["slope"], 2), round(figures["offset"], 2), 1.0]]


def test_clicks_are_accepted_where_they_hit_and_rejected_elsewhere() -> None:
    figures = clicks_of_draw(parts(), Method("logistic", RULE), 0, [0, 3, 6], "confident")
    assert figures[0]["accepted"] == 0 and figures[3]["accepted"] == 1  # each class has three more objects in the pool
    assert 0.3 < figures[6]["accepted"] < 1  # then only wrong finds are left
    for row in figures.values():
        assert row["corrected_AP50"] == row["anew_AP50"] == row["drawn_AP50"] == 1
    with pytest.raises(ValueError, match="no policy 'bold'; there are confident, uncertain"):
        clicks_of_draw(parts(), Method("logistic", RULE), 0, [1], "bold")
    with pytest.raises(ValueError, match="simulated for `logistic`"):
        clicks_of_draw(parts(), Method("baseline_roi", RULE), 0, [1], "confident")
