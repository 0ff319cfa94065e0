"""The tables of detection: what they show of which runs."""

import pytest

from repmet.benchmarks.tables.pages import render
from tests.benchmarks.tables.conftest import DETECTION, episodic, kept


def table(name: str, *contents: dict) -> str:
    return render(name, [kept(f"run{k}", content) for k, content in enumerate(contents or [DETECTION])])


def test_few_shot_tables():
    text = table("detection-few-shot")
    assert "| experiment | protocol | method | 1-shot | 5-shot |\n| --- | --- | --- | ---: | ---: |" in text
    head = "| demo | 5-way, 10 queries, 500 episodes |"
    assert f"{head} RepMet | 70.4 | 85.0 |" in text
    assert f"{head} nearest support, RoI features | 20.0 | – |" in text
    assert f"{head} RepMet | 62.0 [60.0, 64.5] | 62.0 [60.0, 64.5] |" in text
    assert text.count("| experiment |") == 5


def test_summary_has_two_figures_a_shot():
    assert "RepMet | 70.4 | 62.0 [60.0, 64.5] | 85.0 | 62.0 [60.0, 64.5] |" in table("detection-few-shot-summary")


def test_summary_has_paired_differences_where_there_are():
    row = {"method": "baseline_roi", "reference": "repmet", "shot": 1, "episodes": 500}
    content = {**DETECTION, "differences": [row | {"difference": -0.125, "ci95": [-0.2, 0.01]}]}
    text, full = table("detection-few-shot-summary", content), table("detection-few-shot", content)
    assert "**Mean AP over episodes minus RepMet's" in full and "**Pooled AP minus RepMet's" not in full
    assert "nearest support, RoI features | -12.5 [-20.0, 1.0] | – |" in full
    assert "1-shot episode mAP [95 %] | 1-shot difference to RepMet [95 %] | 5-shot pooled AP" in text
    assert "nearest support, RoI features | 20.0 | 62.0 [60.0, 64.5] | -12.5 [-20.0, 1.0] | – | – | – |" in text
    assert "RepMet | 70.4 | 62.0 [60.0, 64.5] | – | 85.0 | 62.0 [60.0, 64.5] | – |" in text
    better = {**DETECTION, "differences": [row | {"difference": 0.125, "ci95": [0.01, 0.2]}]}
    assert "RoI features | +12.5 [1.0, 20.0] | – |" in table("detection-few-shot", better)


def test_pooled_figures_have_their_interval_where_it_was_measured():
    row = {"method": "baseline_roi", "reference": "repmet", "shot": 1, "episodes": 500, "difference": -0.125}
    row |= {"ci95": [-0.2, 0.01], "pooled_difference": -0.5, "pooled_ci95": [-0.625, -0.375]}
    results = [episodic(1, repmet_pooled_ci95=[0.6875, 0.75]), *DETECTION["results"][1:]]
    content = {**DETECTION, "results": results, "differences": [row]}
    full = table("detection-few-shot", content)
    assert "| RepMet | 70.4 [68.8, 75.0] | 85.0 |" in full
    assert "nearest support, RoI features | -50.0 [-62.5, -37.5] | – |" in full
    summary = table("detection-few-shot-summary", content)
    assert "1-shot pooled AP [95 %] |" in summary and "RepMet | 70.4 [68.8, 75.0] | 62.0 [60.0, 64.5] |" in summary


def test_figures_over_lists_of_shots():
    assert table("detection-k-shot") == "*Nothing measured yet.*"
    figures = {"nAP50": {"mean": 0.251, "ci95": 0.012, "n": 3}, "bAP50": {"mean": 0.8, "ci95": None}}
    rows = [{"shot": 10, "seeds": [0, 1, 2], "method": "repmet", **figures}]
    content = {**DETECTION, "experiment": "coco", "results": [], "k_shot": rows}
    assert "| coco | 10 | 3 | 25.1 ± 1.2 | – | – | 80.0 | – | – |" in table("detection-k-shot", DETECTION, content)


def test_fine_tuned_and_unknown_methods_have_lines_of_their_own():
    content = {**DETECTION, "experiment": "x", "results": [episodic(1, finetune=True), episodic(1, "new")]}
    text = table("detection-few-shot", content)
    assert "| RepMet, fine-tuned | 70.4 |" in text and "| new | 70.4 |" in text
    content["results"] = [episodic(1, "repmet_finetuned", finetune=True)]
    assert "| RepMet, fine-tuned | 70.4 |" in table("detection-few-shot", content)


def test_one_detector_scored_by_two_rules_has_lines_for_both_and_one_training():
    rule = {"objectness": True, "nms": 0.3, "support_views": 8, "base_columns": True}
    rule["support_scales"] = [0.5, 1.0, 1.7]
    weighed = {**DETECTION, "rule": rule, "results": [episodic(1, repmet_pooled=0.8)], "base": {}}
    lines = table("detection-few-shot", DETECTION, weighed).splitlines()
    plain, other = (line for line in lines if "| RepMet | 70.4 | 85.0 |" in line or "| 80.0 | – |" in line)
    assert other.split("|")[2].strip() == plain.split("|")[2].strip() + (
        ", with objectness, 8 views of a support, supports at 0.5, 1, 1.7 times the size, base classes compete"
    )
    assert table("training", DETECTION, weighed).count("| demo |") == 1
    assert table("detection-base", DETECTION, weighed).count("| demo |") == 1


def test_base_classes_and_training():
    assert "| demo | 50.0 | 51.2 | – |" in table("detection-base")
    assert "| demo | 12,000 | 9 | 1 h 05 min | 2 cores |" in table("training")


def test_runs_without_few_shot_base_or_training():
    plain = {"experiment": "plain", "results": [], "base": {"voc07": 0.7, "voc": 0.71, "coco": 0.4}}
    assert "| plain | 70.0 | 71.0 | 40.0 |" in table("detection-base", plain)
    for name in ("training", "detection-few-shot", "detection-few-shot-summary"):
        assert table(name, plain) == "*Nothing measured yet.*"


def test_a_result_that_is_there_twice_is_refused():
    with pytest.raises(ValueError, match=r"some/run0 and some/run1 both hold 1-shot RepMet of demo \(5-way.*keep one"):
        table("detection-few-shot", DETECTION, DETECTION)


def test_a_run_that_lacks_something_is_named():
    with pytest.raises(ValueError, match=r"some/run0 does not fit the table 'training': 'int' object"):
        table("training", {**DETECTION, "training": 5})
