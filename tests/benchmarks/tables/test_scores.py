"""The tables of scores and corrections, from what the commands write."""

import pytest

from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.runs import Run
from repmet.benchmarks.tables.scores import (
    chosen_images,
    clicks,
    estimate_coverage,
    mark_faults,
    score_calibration,
    score_unknown,
)


def figure(mean: float, n: int = 10) -> dict:
    return {"mean": mean, "ci95": 0.02, "n": n}


def quality(name: str, marks: int, **figures: float | None) -> dict:
    of = {key: None if value is None else figure(value) for key, value in figures.items()}
    return {"set": name, "method": "logistic", "marks": marks, "draws": 10, **of}


@pytest.fixture
def run() -> Run:
    rows = [
        quality("nuts", 1, ece=0.1, f1=0.5, f1_best=0.6, auroc=None, precision_covered=None),
        quality("nuts", 5, ece=0.08, f1=0.7, f1_best=0.72, auroc=None, precision_covered=0.9),
        quality("bolts", 5, ece=0.12, f1=0.8, f1_best=0.82, auroc=0.9, false_finds_empty=0.25, precision_covered=1.0),
    ]
    content = {
        "protocol": "score quality",
        "seed": 0,
        "command": "python -m detection.score_quality --data nuts",
        "rows": rows,
    }
    return run_of(content, family="scores", name="score_quality", revision="abc")


def test_calibration_by_set_and_the_mean_over_the_sets(run: Run) -> None:
    lines = score_calibration([run]).splitlines()
    assert lines[2].startswith("| nuts | 1 | 10.0 ± 2.0 | – | – | 50.0 ± 2.0 | 60.0 ± 2.0 |")
    assert lines[-1].startswith("| mean | 5 | 10.0 | – | – | 75.0 | 77.0 |")


def test_unknown_only_where_there_are_several_classes(run: Run) -> None:
    lines = score_unknown([run]).splitlines()
    assert len(lines) == 4 and lines[2].startswith("| bolts | 5 | 90.0 ± 2.0 | – | – | 0.25 ± 0.02 |")


def test_draws_whose_interval_held(run: Run) -> None:
    lines = estimate_coverage([run]).splitlines()
    assert "| nuts | precision | – | 9 of 10 | 9 of 10 |" in lines
    assert "| all | precision | – | 19 of 20 | 19 of 20 |" in lines


def test_clicks_by_policy_with_the_mean_over_the_sets() -> None:
    names = ("corrected_AP50", "anew_AP50", "drawn_AP50", "anew_false_finds", "drawn_false_finds", "accepted")
    rows = [
        {"set": name, "policy": "confident", "clicks": 10, "draws": 3} | {key: figure(value) for key in names}
        for name, value in (("nuts", 0.5), ("bolts", 0.6))
    ]
    content = {"protocol": "simulated user", "seed": 0, "command": "python -m detection.simulated_user", "rows": rows}
    run = run_of(content, family="scores", name="simulated_user", revision="abc")
    lines = clicks([run]).splitlines()
    assert lines[2].startswith("| nuts | confident | 10 | 50.0 ± 2.0 |") and lines[2].endswith(
        "| 0.50 ± 0.02 | 0.50 ± 0.02 |"
    )
    assert lines[-1] == "| mean | confident | 10 | 55.0 | 55.0 | 55.0 | 55.0 | 0.55 | 0.55 |"
    assert clicks([]) == "*Nothing measured yet.*"


def test_faults_and_chosen_images_with_the_means_over_the_sets() -> None:
    def row(name: str, **of: float | None) -> dict:
        return {"set": name, "draws": 3} | {
            key: v if key in ("marks", "images") or v is None else figure(v) for key, v in of.items()
        }

    content = {
        "protocol": "mark quality",
        "seed": 0,
        "command": "python -m detection.mark_quality",
        "rows": [row("nuts", marks=10, AP50=0.5, wrong_label=-0.04), row("disc", marks=10, AP50=0.7, wrong_label=None)],
        "chosen": [row("nuts", images=5, chosen_AP50=0.6, random_AP50=0.5, chosen=0.1)],
    }
    run = run_of(content, family="scores", name="mark_quality", revision="abc")
    lines = mark_faults([run]).splitlines()
    assert lines[2].startswith("| nuts | 10 | 50.0 ± 2.0 | -4.0 ± 2.0 |") and lines[3].startswith(
        "| disc | 10 | 70.0 ± 2.0 | – |"
    )
    assert lines[4].startswith("| mean | 10 | 60.0 | -4.0 |")
    assert chosen_images([run]).splitlines()[-1] == "| mean | 5 | 60.0 | 50.0 | 10.0 |"
    assert mark_faults([]) == chosen_images([]) == "*Nothing measured yet.*"
