"""The tables of the protocol "own data": a few marks a class on sets that were never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.formatting import MISSING, NOTHING, markdown, percent_interval
from repmet.benchmarks.tables.registry import table, with_rows
from repmet.benchmarks.tables.runs import Run

Key = tuple[str, str, int, str]  # set, method, marks, metric
CHANGED = "roi_"  # how runs in changed RoI features are named


@table("own-data")
def own_data(runs: Sequence[Run]) -> str:
    """Class-mean AP50 of every set, method and number of marks, its paired difference from the first method, and the
    recall of the proposals; runs with the same numbers of marks in one table."""
    bodies: dict[tuple[int, ...], list[list[str]]] = {}
    for run in with_rows(runs, "own_data"):
        if run.name.startswith(CHANGED):
            continue
        rows = _by_key(run)
        marks = tuple(sorted({key[2] for key in rows}))
        reached = {row["set"]: row for row in run.rows.get("proposals", ()) if row["metric"] == "AR50@100"}
        body = bodies.setdefault(marks, [])
        for name, method in dict.fromkeys((key[0], key[1]) for key in rows):
            first = (name, method, marks[0], "AP50_above_first") not in rows
            cells = [_cell(rows.get((name, method, k, "AP50"))) for k in marks]
            recall = _cell(reached.get(name)) if first else MISSING
            body.append([name, method, *cells, recall])
            if not first:
                above = [rows.get((name, method, k, "AP50_above_first")) for k in marks]
                against = next(row["against"] for row in above if row)
                body.append([name, f"{method} - {against}", *map(_cell, above), MISSING])
    return "\n\n".join(markdown(_head(marks), body, 2) for marks, body in bodies.items()) or NOTHING


@table("roi-features")
def roi_features(runs: Sequence[Run]) -> str:
    """A table a run in changed RoI features: class-mean AP50 in the first kind of them, and what the others are above it."""
    parts = []
    for run in with_rows(runs, "own_data"):
        if not run.name.startswith(CHANGED):
            continue
        rows = _by_key(run)
        sets, body = list(dict.fromkeys(key[0] for key in rows)), []
        for method, k in dict.fromkeys((key[1], key[2]) for key in rows):
            above = (sets[0], method, k, "AP50_above_first") in rows
            cells = [rows.get((name, method, k, "AP50_above_first" if above else "AP50")) for name in sets]
            mean = sum(row["mean"] for row in cells if row) / sum(row is not None for row in cells)
            body.append([f"{'+ ' if above else ''}{method}", str(k), *map(_cell, cells), f"{100 * mean:.1f}"])
        parts.append(markdown(["features", "marks", *sets, "mean"], body, 1))
    return "\n\n".join(parts) or NOTHING


def _head(marks: Sequence[int]) -> list[str]:
    return ["set", "method", *(f"{k} mark{'s' if k > 1 else ''}" for k in marks), "AR50@100"]


def _by_key(run: Run) -> dict[Key, Mapping[str, Any]]:
    return {(row["set"], row["method"], row["marks"], row["metric"]): row for row in run.rows["own_data"]}


def _cell(row: Mapping[str, Any] | None) -> str:
    return MISSING if row is None else percent_interval(row)
