"""Families of kept runs: written and read back exactly, and what is wrong with a line is said."""

import json

import pytest

from repmet.benchmarks.tables.runs import Run, read_runs, write_family
from tests.benchmarks.tables.conftest import DETECTION, accuracy, kept

LINE = {"name": "a", "revision": "abc", "commands": ["c"], "rows": {}}
ROW = accuracy("digits", "test", "m", "simple", 0.1 + 0.2)


def test_what_is_written_is_read_back(tmp_path):
    runs = [
        kept("demo", DETECTION, "detection"),
        Run("other", "b", "abc", ["one", "two"], {"accuracies": [ROW]}, near="def", curves={"risk": [0.1, 1 / 3]}),
    ]
    for run in runs:
        write_family(tmp_path / f"{run.family}.jsonl", [run])
    assert read_runs(tmp_path) == runs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detection.jsonl", "other.curves.jsonl", "other.jsonl"]
    assert "curves" not in (tmp_path / "other.jsonl").read_text()


def test_runs_are_written_by_name_and_curves_go_with_their_runs(tmp_path):
    path = tmp_path / "some.jsonl"
    runs = [Run("some", name, "abc", ["c"], {}, curves={"x": [1]}) for name in ("b", "a")]
    write_family(path, runs)
    assert [run.name for run in read_runs(tmp_path)] == ["a", "b"]
    write_family(path, [Run("some", "a", "abc", ["c"], {})])
    assert [path.name for path in tmp_path.iterdir()] == ["some.jsonl"]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("accuracy", ROW, "some/a: there are no rows of the kind 'accuracy'; those there are: accuracies, costs"),
        ("accuracies", {**ROW, "shot": 1}, "some/a: a row of accuracies has no shot"),
        ("accuracies", {"metric": "x", "mean": 1}, "a row of accuracies lacks dataset, split, method, seeds"),
        ("timings", {"case": "c", "against": "p", "metric": "ms"}, "a row of timings lacks mean"),
    ],
)
def test_rows_are_of_the_schema(kind, row, message):
    with pytest.raises(ValueError, match=message):
        Run("some", "a", "abc", ["c"], {kind: [row]})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "some.jsonl, line 1: not valid JSON"),
        ([json.dumps(LINE), "[1]"], "some.jsonl, line 2: a run is a mapping, not list"),
        ([json.dumps(LINE | {"git": "abc"})], "some.jsonl, line 1: a run has no git"),
        ([json.dumps({"name": "a"})], "some.jsonl, line 1: a run without revision, commands, rows"),
        ([json.dumps(LINE)] * 2, "some.jsonl, line 2: there are two runs a"),
    ],
)
def test_broken_lines_are_named(tmp_path, lines, message):
    (tmp_path / "some.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        read_runs(tmp_path)


def test_curves_of_no_run_are_named(tmp_path):
    (tmp_path / "some.jsonl").write_text(json.dumps(LINE))
    (tmp_path / "some.curves.jsonl").write_text(json.dumps({"name": "b", "curves": {}}))
    with pytest.raises(ValueError, match=r"some.curves.jsonl: curves of runs that some.jsonl does not have: b"):
        read_runs(tmp_path)
