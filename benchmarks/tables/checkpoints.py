"""The table of checkpoints that were measured: how to know one, and the command that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from repmet.benchmarks.tables.formatting import MISSING, markdown
from repmet.benchmarks.tables.registry import table
from repmet.benchmarks.tables.runs import Run


@table("checkpoints")
def checkpoints(runs: Sequence[Run]) -> str:
    """A line for each checkpoint, however often it was measured."""
    lines: dict[str, list[str]] = {}
    for run in runs:
        if run.sha256:
            file = "/".join(PurePath(run.checkpoint or "").parts[-2:])
            command = f"`{run.commands[0]}`" if run.commands else MISSING
            lines.setdefault(run.sha256, [str(run.experiment), file, f"`{run.sha256}`", run.revision, command])
    return markdown(["experiment", "checkpoint", "SHA-256", "revision", "command"], list(lines.values()), 5)
