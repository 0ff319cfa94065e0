"""The tables of costs: of each method, and of pairs."""

from repmet.benchmarks.tables.pages import render
from tests.benchmarks.tables.conftest import accuracy, classified, kept

ABOUT = {"dataset": "digits", "split": "test", "method": "guided", "against": "free", "mean": 0.1234, "seeds": [0, 1]}


def difference(name: str, seeds: float | None, images: float):
    rows = [ABOUT | {"over": "images", "ci95": images, "n": 9}, ABOUT | {"over": "seeds", "ci95": seeds, "n": 2}]
    return kept(name, {"cost_differences": rows})


def test_a_method_is_a_line_and_its_seeds_are_summed_up():
    def costs(seed: int, mean: float):
        of = {"dataset": "digits", "split": "test", "method": "guided", "seeds": [seed], "n": 100}
        rows = [of | {"metric": "error rate", "mean": mean, "ci95": 0.01}, of | {"metric": "distortion", "mean": 0.25}]
        rows[1]["ci95"] = None
        return classified(f"digits_{seed}", accuracy("digits", "test", "guided", "simple", 0.9, seeds=[seed]), costs=rows)

    assert render("classification-costs", [costs(0, 0.125)]).splitlines() == [
        "| data | split | method | error rate | distortion | seeds |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        "| digits | test | guided | 0.125 ± 0.010 | 0.250 | 0 |",
    ]
    assert "| 0.150 ± 0.318 | 0.250 ± 0.000 | 0, 1 |" in render("classification-costs", [costs(0, 0.125), costs(1, 0.175)])


def test_a_pair_is_a_line_with_both_intervals():
    lines = render(
        "classification-cost-differences", [difference("a", 0.05, 0.02), difference("b", None, 0.02)]
    ).splitlines()
    assert lines[0] == "| data | method | costs less than | by | over seeds | over images | seeds |"
    assert lines[2:] == [
        "| digits | guided | free | 0.123 | ± 0.050 | ± 0.020 | 0, 1 |",
        "| digits | guided | free | 0.123 | – | ± 0.020 | 0, 1 |",
    ]
