"""The table of marks on one's own data, from what the command writes."""

from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.own_data import own_data, roi_features
from repmet.benchmarks.tables.runs import Run

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


def test_runs_with_the_same_numbers_of_marks_share_a_table() -> None:
    def run(name: str, *marks: int) -> Run:
        rows = [line("logistic", k, 0.6) | {"set": name} for k in marks]
        sets = [{"set": name, "images": 9, "classes": ["nut"], "proposals": {}, "rows": rows}]
        content = {"protocol": "own data", "seed": 0, "command": f"python -m detection.own_data --data {name}", "sets": sets}
        return run_of(content, family="detection", name=name, revision="abc")

    tables = own_data([run("nuts", 1, 5), run("nails", 1), run("bolts", 5, 1)]).split("\n\n")
    assert [[row.split(" | ")[0] for row in table.splitlines()[2:]] for table in tables] == [
        ["| nuts", "| bolts"],
        ["| nails"],
    ]


def test_changed_features_are_set_beside_the_first_ones() -> None:
    rows = []
    for name, difference in (("nuts", 0.1), ("bolts", -0.3)):
        above = {"mean": difference, "ci95": 0.01, "n": 10}
        rows.append(line("logistic, frozen", 5, 0.6) | {"set": name})
        rows.append(line("logistic, joined", 5, 0.6, AP50_above_first=above, against="logistic, frozen") | {"set": name})
    sets = [
        {"set": name, "images": 9, "classes": ["nut"], "proposals": {}, "rows": [r for r in rows if r["set"] == name]}
        for name in ("nuts", "bolts")
    ]
    content = {"protocol": "own data", "seed": 0, "command": "python -m benchmarks.roi_embedding", "sets": sets}
    run = run_of(content, family="detection", name="roi_embedding", revision="abc")
    assert roi_features([run]).splitlines() == [
        "| features | marks | nuts | bolts | mean |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| logistic, frozen | 5 | 60.0 ± 2.0 | 60.0 ± 2.0 | 60.0 |",
        "| + logistic, joined | 5 | 10.0 ± 1.0 | -30.0 ± 1.0 | -10.0 |",
    ]
    assert own_data([run]) == "*Nothing measured yet.*"


def test_nothing_was_measured() -> None:
    assert roi_features([]) == own_data([]) == "*Nothing measured yet.*"
