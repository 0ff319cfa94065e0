"""The table of paired cost differences: its figures, and that it reads nothing else."""

from repmet.experiments.cost_difference_table import cost_differences, is_cost_difference
from repmet.experiments.result_tables import NOTHING, TABLES, Result

ABOUT = {"dataset": "digits", "split": "test", "method": "guided", "against": "free", "mean": 0.1234, "seeds": [0, 1]}


def content(seeds: float | None, images: float) -> dict:
    return {"cost_differences": [ABOUT | {"over": "images", "ci95": images}, ABOUT | {"over": "seeds", "ci95": seeds}]}


def test_a_pair_is_a_row_with_both_intervals():
    lines = cost_differences([Result("a", content(0.05, 0.02)), Result("b", content(None, 0.02))]).splitlines()
    assert lines[0] == "| data | method | costs less than | by | over seeds | over images | seeds |"
    assert lines[2:] == [
        "| digits | guided | free | 0.123 | ± 0.050 | ± 0.020 | 0, 1 |",
        "| digits | guided | free | 0.123 | – | ± 0.020 | 0, 1 |",
    ]


def test_other_files_are_not_read():
    assert is_cost_difference(content(0.1, 0.1)) and not is_cost_difference({"experiment": "x", "results": []})
    assert TABLES["classification-cost-differences"].render([]) == NOTHING
