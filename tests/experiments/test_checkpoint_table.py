"""The table of kept checkpoints."""

from repmet.experiments.result_tables import Result
from repmet.experiments.results import render

ROWS = [{"dataset": "omniglot", "split": "test", "method": "m", "metric": "simple accuracy", "mean": 0.9, "ci95": 0.1}]


def result(name: str, **more) -> Result:
    return Result(name, {"experiment": name, "results": ROWS} | more)


def test_a_row_for_each_checkpoint_however_often_it_was_measured():
    command = "python -m classification.train a.yaml --cfg-options 'x=a|b'"
    own = {"checkpoint": "/home/me/work_dirs/a/best.pth", "sha256": "ab" * 32, "command": command}
    results = [
        result("a", **own),
        result("a_again", **own),
        result("b", checkpoint="https://host/files/b.pth", sha256="cd" * 32, command=None),
        result("c", checkpoint="work_dirs/c/best.pth"),  # says nothing to know it by
    ]
    assert render("checkpoints", results).splitlines() == [
        "| experiment | checkpoint | SHA-256 | command |",
        "| --- | --- | --- | --- |",
        f"| a | a/best.pth | `{'ab' * 32}` | `{command.replace('|', chr(92) + '|')}` |",
        f"| b | files/b.pth | `{'cd' * 32}` | – |",
    ]


def test_checkpoints_of_detection_too():
    detection = Result("d", {"experiment": "d", "results": [{"protocol": {}}], "checkpoint": "d/x.pth", "sha256": "0" * 64})
    assert "| d | d/x.pth |" in render("checkpoints", [detection])
