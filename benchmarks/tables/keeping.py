"""Which runs are kept: those that can be had again, because a committed revision of this history made them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.runs import NOT_KEPT, Run, read_family, write_family
from repmet.errors import UserError
from repmet.experiments.running.provenance import DIRTY, git

RESULTS = "models/results"
SHOWN = 5  # refusals that are spelled out


def refusal(revision: str | None, root: Path) -> str | None:
    """Why a new run of this revision is not kept in the checkout `root`; None where it is."""
    if not revision or revision == NOT_KEPT:
        return "it does not say which revision measured it"
    if revision.endswith(DIRTY):
        return f"revision {revision}: files were changed and not committed; commit them and measure again"
    if git(root, "merge-base", "--is-ancestor", revision, "HEAD") is None:
        return f"revision {revision} is no ancestor of HEAD; measure again at a revision that is"
    return None


def check_new(runs: Iterable[Run], root: Path) -> None:
    """Refuses runs whose figures are not in HEAD, and that no clean revision of its history made.

    Raises:
        ValueError: with a line for each of the first of them.
    """
    if git(root, "rev-parse", "--verify", "HEAD") is None:
        return  # no checkout, as an unpacked archive: nothing to compare with
    committed: dict[str, dict[str, object]] = {}
    reasons = []
    for run in runs:
        if run.family not in committed:
            committed[run.family] = _committed_rows(run.family, root)
        if committed[run.family].get(run.name) != run.rows and (reason := refusal(run.revision, root)):
            reasons.append(f"{run} is not kept: {reason}")
    if reasons:
        more = [f"and {len(reasons) - SHOWN} more"] if len(reasons) > SHOWN else []
        raise UserError("\n".join(reasons[:SHOWN] + more))


def measured(family: str, files: Sequence[Path], root: Path, commands: Sequence[str] = ()) -> list[Run]:
    """What commands wrote, as runs that may be kept in a family.

    Args:
        family: the name of its file, without the ending.
        files: as the commands write them. A run is called as the folder of its metrics.json or retrieval.json, or as a
            file of another name.
        root: the checkout.
        commands: that make it again, where the file does not say.

    Raises:
        FileNotFoundError, ValueError: a file is not there, none of ours, or not to be kept (`refusal`).
    """
    if not family.isidentifier():
        raise UserError(f"{family}: a family is a name of letters, digits and _, as its file is called")
    runs = []
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file}: not valid JSON: {error}") from error
        about = content if isinstance(content, dict) else {}
        revision = about.get("git") or (about.get("env") or {}).get("git")
        if reason := refusal(revision, root):
            raise UserError(f"{file} is not kept: {reason}")
        name = file.resolve().parent.name if file.name in ("metrics.json", "retrieval.json") else file.stem
        run = run_of(content, family=family, name=name, revision=revision, commands=commands)
        runs.append(_without_machine_paths(run, root))
    return runs


def replaced(runs: Iterable[Run], new: Iterable[Run]) -> list[Run]:
    """Runs with new ones, each in the place of the one of its name."""
    return sorted({(run.family, run.name): run for run in (*runs, *new)}.values(), key=lambda run: (run.family, run.name))


def keep(runs: Sequence[Run], root: Path) -> None:
    """Writes runs of one family into its file, in the place of those of the same name."""
    path = root / RESULTS / f"{runs[0].family}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_family(path, replaced(read_family(path) if path.is_file() else [], runs))


def _without_machine_paths(run: Run, root: Path) -> Run:
    if not run.commands:
        raise UserError(f"{run}: its file does not say which command made it; name it by --command")
    commands = [command.replace(f"{root.resolve()}/", "") for command in run.commands]
    for command in commands:
        if any(word.startswith("/") for word in command.replace("=", " ").split()):
            raise UserError(f"{run}: {command!r} names a folder of this machine; give a --command that works anywhere")
    return Run(**{**vars(run), "commands": commands})


def _committed_rows(family: str, root: Path) -> dict[str, object]:
    text = git(root, "show", f"HEAD:{RESULTS}/{family}.jsonl")
    lines = [json.loads(line) for line in (text or "").splitlines()]
    return {line["name"]: line["rows"] for line in lines}
