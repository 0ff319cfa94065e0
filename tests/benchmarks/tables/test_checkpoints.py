"""The table of measured checkpoints."""

from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.pages import render
from tests.benchmarks.tables.conftest import DETECTION, REVISION, accuracy

ROWS = [accuracy("omniglot", "test", "m", "simple", 0.9)]


def result(name: str, **more):
    content = {"experiment": name, "results": ROWS} | more
    return run_of(content, family="some", name=name, revision=REVISION)


def test_a_line_for_each_checkpoint_however_often_it_was_measured():
    command = "python -m classification.train a.yaml --cfg-options 'x=a|b'"
    made = {"checkpoint": "/home/me/work_dirs/a/best.pth", "sha256": "ab" * 32, "command": command}
    results = [
        result("a", **made, evaluated_by="python -m classification.evaluate a.yaml work_dirs/a"),
        result("a_again", **made),
        result("b", checkpoint="https://host/files/b.pth", sha256="cd" * 32, command=None),
        result("c", checkpoint="work_dirs/c/best.pth"),  # says nothing to know it by
    ]
    assert render("checkpoints", results).splitlines() == [
        "| experiment | checkpoint | SHA-256 | revision | command |",
        "| --- | --- | --- | --- | --- |",
        f"| a | a/best.pth | `{'ab' * 32}` | {REVISION} | `{command.replace('|', chr(92) + '|')}` |",
        f"| b | files/b.pth | `{'cd' * 32}` | {REVISION} | – |",
    ]


def test_checkpoints_of_detection_too():
    content = DETECTION | {"experiment": "d", "checkpoint": "d/x.pth", "sha256": "0" * 64}
    run = run_of(content, family="some", name="d", revision=REVISION)
    assert "| d | d/x.pth |" in render("checkpoints", [run])
