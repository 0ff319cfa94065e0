"""Which results are kept: those of a clean revision of this history."""

import json
import subprocess
from pathlib import Path

import pytest

from repmet.benchmarks.tables.__main__ import main
from repmet.benchmarks.tables.keeping import measured as kept_of
from repmet.benchmarks.tables.pages import PAGES
from repmet.benchmarks.tables.runs import NOT_KEPT, Run, read_runs, write_family
from tests.benchmarks.tables.conftest import DETECTION

COMMAND = "python -m detection.evaluate experiments/detection/demo.yaml work_dirs/demo"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", ".")
    git(folder, "commit", "-q", "--allow-empty", "-m", "A commit")
    return git(folder, "rev-parse", "--short=12", "HEAD")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the pages, empty of results."""
    folder = tmp_path / "checkout"
    for page in PAGES:
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_text("<!-- results:training -->\n<!-- /results -->\n")
    (folder / ".gitignore").write_text("work_dirs/\n")
    (folder / "models" / "results").mkdir(parents=True)
    git(folder, "init", "-q")
    commit(folder)
    return folder


def measured(folder: Path, revision: str | None, name: str = "demo", **more) -> Path:
    path = folder / "work_dirs" / name / "metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**DETECTION, "git": revision, "evaluated_by": COMMAND, **more}))
    return path


def command(folder: Path, *arguments: object) -> int:
    return main(["--root", str(folder), *map(str, arguments)])


def test_a_run_is_kept_and_shown(checkout, capsys):
    path = measured(checkout, commit(checkout))
    assert command(checkout, "--keep", "detection", path) == 0
    assert "kept: detection/demo\n1 kept runs; wrote README.md" in capsys.readouterr().out
    [run] = read_runs(checkout / "models" / "results")
    assert (run.family, run.name, list(run.commands)) == ("detection", "demo", [COMMAND])
    assert "| demo | 12,000 |" in (checkout / "README.md").read_text()
    commit(checkout)
    assert command(checkout, "--check") == 0


def test_a_run_takes_the_place_of_its_former_self_and_no_others(checkout):
    first = commit(checkout)
    for name in ("demo", "other"):
        assert command(checkout, "--keep", "detection", measured(checkout, first, name, experiment=name)) == 0
    second = commit(checkout)
    assert command(checkout, "--keep", "detection", measured(checkout, second, seed=7)) == 0
    runs = {run.name: run for run in read_runs(checkout / "models" / "results")}
    assert [(run.revision, run.seed) for run in runs.values()] == [(second, 7), (first, 3)]


def test_what_cannot_be_had_again_is_refused(checkout, capsys):
    clean = commit(checkout)
    git(checkout, "checkout", "-q", "-b", "aside")
    aside = commit(checkout)
    git(checkout, "checkout", "-q", "-")
    for revision, message in (
        (f"{clean}-dirty", "files were changed and not committed"),
        (aside, f"revision {aside} is no ancestor of HEAD"),
        ("f" * 12, "is no ancestor of HEAD"),
        (None, "does not say which revision"),
        (NOT_KEPT, "does not say which revision"),
    ):
        good, bad = measured(checkout, clean), measured(checkout, revision, "bad")
        assert command(checkout, "--keep", "detection", good, bad) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {bad} is not kept: ") and message in error
        assert not list((checkout / "models" / "results").iterdir())  # not the good one either


def test_a_line_that_was_written_by_hand_is_refused_and_a_committed_one_stays(checkout, capsys):
    path = checkout / "models" / "results" / "detection.jsonl"
    row = {"metric": "voc", "mean": 0.5}
    old = Run("detection", "old", NOT_KEPT, [COMMAND], {"base_classes": [row]})
    write_family(path, [old])
    commit(checkout)
    assert command(checkout) == 0
    write_family(path, [Run(**{**vars(old), "commands": ["another command"]})])
    assert command(checkout) == 0  # its figures are those that were committed
    for new in (
        Run("detection", "new", NOT_KEPT, [COMMAND], old.rows),
        Run("detection", "old", NOT_KEPT, [COMMAND], {"base_classes": [row | {"mean": 0.75}]}),
        Run("detection", "old", "0123456789ab-dirty", [COMMAND], {}),
    ):
        write_family(path, [new])
        capsys.readouterr()
        assert command(checkout, "--check") == 2
        assert f"error: {new} is not kept: " in capsys.readouterr().err


def test_what_does_not_fit_the_tables_is_not_written(checkout, capsys):
    clean = commit(checkout)
    (checkout / "README.md").write_text("<!-- results:detection-few-shot -->\n<!-- /results -->\n")
    files = [measured(checkout, clean), measured(checkout, clean, "twin")]
    assert command(checkout, "--keep", "detection", *files) == 2
    assert "detection/demo and detection/twin both hold 1-shot RepMet" in capsys.readouterr().err
    assert not list((checkout / "models" / "results").iterdir())


def test_commands_work_elsewhere_too(checkout):
    clean = commit(checkout)
    inside = f"python -m detection.evaluate demo.yaml {checkout.resolve()}/work_dirs/demo"
    [run] = kept_of("detection", [measured(checkout, clean, evaluated_by=inside)], checkout)
    assert list(run.commands) == ["python -m detection.evaluate demo.yaml work_dirs/demo"]
    with pytest.raises(ValueError, match="'evaluate --data=/home/me' names a folder of this machine"):
        kept_of("detection", [measured(checkout, clean, evaluated_by="evaluate --data=/home/me")], checkout)
    path = measured(checkout, clean, evaluated_by=None)
    with pytest.raises(ValueError, match="does not say which command made it; name it by --command"):
        kept_of("detection", [path], checkout)
    assert command(checkout, "--keep", "detection", path, "--command", COMMAND) == 0


def test_bad_arguments_are_named(checkout, capsys):
    path = measured(checkout, commit(checkout))
    assert command(checkout, "--keep", "my family", path) == 2
    assert "my family: a family is a name of letters" in capsys.readouterr().err
    assert command(checkout, "--keep", "detection", path.with_name("none.json")) == 2
    assert "none.json: no such file" in capsys.readouterr().err
    path.write_text("{")
    assert command(checkout, "--keep", "detection", path) == 2
    assert "metrics.json: not valid JSON" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        command(checkout, "--keep", "detection")
    assert stopped.value.code == 2
