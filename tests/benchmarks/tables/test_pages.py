"""The pages: tables between their markers, and that a stale one, a broken marker or a broken line is noticed."""

import subprocess
import sys
from pathlib import Path

import pytest

from repmet.benchmarks.tables.__main__ import main
from repmet.benchmarks.tables.pages import PAGES, fill, render
from repmet.benchmarks.tables.registry import TABLES
from repmet.benchmarks.tables.runs import write_family
from tests.benchmarks.tables.conftest import BENCHMARK, DETECTION, kept


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the pages and two kept runs, no checkout."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for page in PAGES:
        tables = "".join(f"<!-- results:{name} -->\nstale\n<!-- /results -->\nkept\n" for name in TABLES)
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text(f"# Title\n\n{tables}end\n")
    (tmp_path / "models" / "results").mkdir(parents=True)
    write(tmp_path, "detection", kept("demo", DETECTION, "detection"))
    write(tmp_path, "benchmarks", kept("roi", BENCHMARK, "benchmarks"))
    return tmp_path


def write(project: Path, family: str, *runs) -> None:
    write_family(project / "models" / "results" / f"{family}.jsonl", runs)


@pytest.mark.parametrize("name", TABLES)
def test_no_results_at_all(name):
    assert render(name, []) == "*Nothing measured yet.*"


def test_the_command_writes_once_and_check_notices_what_is_stale(project, capsys):
    assert main(["--root", str(project), "--check"]) == 1
    assert f"out of date: {', '.join(PAGES)}; run `make results`" in capsys.readouterr().err
    assert "stale" in (project / "README.md").read_text()  # checking writes nothing
    assert main(["--root", str(project)]) == 0
    text = (project / "README.md").read_text()
    assert "stale" not in text and text.count("kept") == len(TABLES) and text.endswith("kept\nend\n")
    assert main(["--root", str(project), "--check"]) == 0
    assert main(["--root", str(project)]) == 0
    assert (project / "README.md").read_text() == text
    write(project, "detection", kept("demo", {**DETECTION, "experiment": "renamed"}, "detection"))
    assert main(["--root", str(project), "--check"]) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "<!-- results:nonsense -->\n<!-- /results -->",
            "no table 'nonsense'; those there are: benchmarks, benchmarks-summary, checkpoints, chosen-images",
        ),
        ("<!-- results:training -->\n", "misspelt or has no partner"),
        ("<!-- /results -->\n", "misspelt or has no partner"),
        ("<!-- results training -->\n<!-- /results -->", "misspelt or has no partner"),
        ("<!-- results:training -->\n<!-- results:benchmarks -->\n<!-- /results -->", "is not closed"),
    ],
)
def test_broken_markers(text, message):
    with pytest.raises(ValueError, match=message):
        fill(text, [])


def test_a_missing_page_is_named(project, capsys):
    (project / "README.md").unlink()
    assert main(["--root", str(project)]) == 2
    assert "README.md: not found" in capsys.readouterr().err


def test_runs_as_a_module(project):
    command = [sys.executable, "-m", "benchmarks.tables", "--root", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"2 kept runs; wrote {', '.join(PAGES)}\n"


def test_a_broken_line_is_named_and_nothing_written(project, capsys):
    (project / "models" / "results" / "detection.jsonl").write_text("{\n")
    before = (project / "README.md").read_text()
    assert main(["--root", str(project)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: detection.jsonl, line 1: not valid JSON") and error.count("\n") == 1
    assert (project / "README.md").read_text() == before
