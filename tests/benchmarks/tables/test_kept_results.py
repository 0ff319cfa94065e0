"""The results that are kept in this checkout: where they come from, and that their commands name what there is."""

import re
from pathlib import Path

import pytest

from repmet.benchmarks.tables.keeping import RESULTS, refusal
from repmet.benchmarks.tables.runs import NOT_KEPT, read_runs
from repmet.experiments.config.suites import experiments_below
from repmet.experiments.running.provenance import git

ROOT = Path(__file__).parents[3]
RUNS = read_runs(ROOT / RESULTS)
WITHOUT_REVISION = 288  # measured before revisions were asked for; may only become fewer


def test_no_run_without_a_revision_is_added():
    assert sum(run.revision == NOT_KEPT for run in RUNS) <= WITHOUT_REVISION


def test_every_other_run_is_of_a_revision_of_this_history():
    if git(ROOT, "rev-parse", "--is-shallow-repository") != "false\n":
        pytest.skip("needs a checkout with its whole history")
    revisions = {run.revision for run in RUNS} - {NOT_KEPT}
    assert revisions and {revision: refusal(revision, ROOT) for revision in revisions} == dict.fromkeys(revisions)


def test_every_run_says_how_it_can_be_had_again():
    for run in RUNS:
        assert run.commands and all(re.match(r"([A-Z_]+=\S+ )*python -m \S+", command) for command in run.commands), run
        assert not re.search(r"(^|[\s=])/", " ".join(run.commands)), run


def test_commands_without_a_revision_work_in_this_checkout():
    commands = [command for run in RUNS if run.revision == NOT_KEPT for command in run.commands]
    modules = {re.search(r"-m (\S+)", command)[1] for command in commands}
    assert len(modules) > 3 and all((ROOT / f"{module.replace('.', '/')}.py").is_file() for module in modules)
    named = {word for command in commands for word in command.split() if ".yaml" in word}
    known = {Path(address).relative_to(ROOT).as_posix() for address in experiments_below(ROOT / "experiments")}
    assert len(named) > 50 and named <= known
