"""The trial of the least threshold: groups of classes, figures of the rule in use, and the file that a table is made of."""

import json

import numpy as np
import pytest
from parts import parts
from small_photos import pets

from repmet.benchmarks import least_threshold
from repmet.benchmarks.least_threshold import groups, learnt, measure
from repmet.benchmarks.tables import trials as _tables  # noqa: F401  (registers them)
from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.registry import render
from repmet.detection.protocols.score_quality import quality_of_draw
from repmet.detection.scoring.calibration import LEAST
from repmet.detection.scoring.held_out import UNMARKED
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.shipped import SHIPPED

RULE = FewShotRule(support_iou=None, objectness=1.0, score_prior=[[1, 1.5, 3.0, 0.6]])


def test_each_class_stands_in_a_group_and_the_rest_is_left_out() -> None:
    data = parts()
    assert sorted(group.classes for group in groups(data, 1, 0)) == [("bolt",), ("nut",)]
    assert [group.classes for group in groups(data, 2, 0)] == [("bolt", "nut")]
    assert list(groups(data, 3, 0)) == []


@pytest.mark.parametrize("k", [1, 3])
def test_with_the_numbers_in_use_it_is_the_rule_in_use(k) -> None:
    """Against `score_quality`, which asks the calibration that a detector has."""
    expected = quality_of_draw(parts(), Method("logistic", RULE), k, 0)
    f1, wrong = learnt(parts(), RULE, k, 0).figures(LEAST, UNMARKED)
    assert (f1, wrong) == pytest.approx((expected["f1"], expected["false_finds"]))


def test_a_higher_least_threshold_takes_fewer_finds() -> None:
    shown = learnt(parts(), RULE, 3, 0)
    low, high = (shown.figures(least, UNMARKED)[1] for least in (0.0, 0.6))
    assert low >= high
    rows = measure(parts(), RULE, 2, 3, range(2), [(0.1, UNMARKED), (LEAST, 1.0)])
    assert [(row["least"], row["quantile"]) for row in rows] == [(0.1, UNMARKED), (LEAST, 1.0)]
    assert all(0 <= row["f1"]["mean"] <= row["f1_common"]["mean"] + 1e-9 and row["draws"] == 2 for row in rows)


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no weights ship with this copy")
def test_from_a_folder_to_the_table(tmp_path, capsys) -> None:
    folder, out = pets(tmp_path / "pets", 12), tmp_path / "least_threshold.json"
    words = [str(folder), "--marks", "1", "--draws", "1", "--out", str(out)]
    assert least_threshold.main(words) == 0
    assert "1 shown" in capsys.readouterr().out
    run = run_of(json.loads(out.read_text()), family="scores", name="least", revision="abc", commands=["python -m x"])
    assert np.isfinite([row["mean"] for row in run.rows["thresholds"]]).all()
    assert f"| {LEAST:.2f} |" in render("least-threshold", [run])
    assert least_threshold.main([str(folder), "--shown", "40"]) == 2
    assert "40 classes cannot be shown" in capsys.readouterr().err
