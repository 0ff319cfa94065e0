"""The table of marks on one's own data, from what the command writes."""

from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.own_data import own_data

FIGURE = {"mean": 0.5, "ci95": 0.02, "n": 10, "values": [0.5] * 10}


def line(method: str, marks: int, mean: float, **more) -> dict:
    figures = {name: FIGURE | {"mean": mean} for name in ("AP50", "AP", "false_finds")}
    return {"set": "nuts", "method": method, "marks": marks, "draws": 10, **figures, **more}


def test_what_the_command_writes_is_a_row_a_method() -> None:
    above = {"mean": -0.1, "ci95": 0.01, "n": 10}
    rows = [line("logistic", 1, 0.6), line("logistic", 5, 0.7)]
    rows += [line("baseline_roi", k, 0.5, AP50_above_first=above) for k in (1, 5)]
    proposals = {"AR50@100": 0.91, "AR@100": 0.5, "AR@100 small": None}
    content = {
        "protocol": "own data",
        "seed": 0,
        "command": "python -m detection.own_data --data nuts",
        "sets": [{"set": "nuts", "images": 9, "classes": ["nut"], "proposals": proposals, "rows": rows}],
    }
    run = run_of(content, family="detection", name="own_data", revision="abc")
    assert len(run.rows["own_data"]) == 4 * 3 + 2 and len(run.rows["proposals"]) == 2
    lines = own_data([run]).splitlines()
    assert lines[0] == "| set | method | 1 mark | 5 marks | AR50@100 |"
    assert lines[2] == "| nuts | logistic | 60.0 ± 2.0 | 70.0 ± 2.0 | 91.0 |"
    assert lines[4] == "| nuts | baseline_roi - the first method | -10.0 ± 1.0 | -10.0 ± 1.0 | – |"


def test_nothing_was_measured() -> None:
    assert own_data([]) == "*Nothing measured yet.*"
