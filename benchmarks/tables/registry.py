"""The tables of kept results by name: functions from runs to markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.runs import Run
from repmet.errors import UserError

Render = Callable[[Sequence[Run]], str]
Cells = dict[tuple[str, ...], dict[str, Mapping[str, Any]]]  # rows of a line by metric

TABLES: dict[str, Render] = {}


def table(name: str) -> Callable[[Render], Render]:
    """Registers a function as the table of a marker's name."""

    def register(render: Render) -> Render:
        TABLES[name] = render
        return render

    return register


def with_rows(runs: Sequence[Run], *kinds: str) -> list[Run]:
    """The runs that have rows of one of these kinds."""
    return [run for run in runs if any(run.rows.get(kind) for kind in kinds)]


def cells_of(runs: Sequence[Run], kind: str, keys: Sequence[str]) -> Cells:
    """The rows of a kind by the values of some keys, and by metric; of two runs the later one's stand."""
    cells: Cells = {}
    for run in with_rows(runs, kind):
        for row in run.rows[kind]:
            cells.setdefault(tuple(str(row[key]) for key in keys), {})[row["metric"]] = row
    return cells


def render(name: str, runs: Sequence[Run]) -> str:
    """The markdown of one table.

    Raises:
        ValueError: there is no such table, or a run lacks something that it needs.
    """
    if name not in TABLES:
        raise UserError(f"there is no table {name!r}; those there are: {', '.join(sorted(TABLES))}")
    try:
        return TABLES[name](runs)
    except (KeyError, TypeError, AttributeError) as error:
        for run in runs:  # which one is it?
            try:
                TABLES[name]([run])
            except (KeyError, TypeError, AttributeError) as cause:
                reason = f"it lacks {cause}" if isinstance(cause, KeyError) else cause
                raise UserError(f"{run} does not fit the table {name!r}: {reason}") from error
        raise
