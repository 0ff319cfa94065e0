"""The tables of what mistakes cost: of each method, and how much less one's cost than another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.classification import all_figures
from repmet.benchmarks.tables.formatting import MISSING, markdown, seeds_of
from repmet.benchmarks.tables.registry import table, with_rows
from repmet.benchmarks.tables.runs import Run


@table("classification-costs")
def costs(runs: Sequence[Run]) -> str:
    """A line a method, a column a figure, in its own units; trainings summed up over seeds."""
    figures = all_figures(runs, "costs")
    metrics = list(dict.fromkeys(key[3] for key in figures))
    body = []
    for place in sorted(dict.fromkeys(key[:3] for key in figures)):
        cells = [figures.get((*place, metric)) for metric in metrics]
        there = [row for row in cells if row is not None]
        body.append([*place, *(MISSING if row is None else _cost(row) for row in cells), seeds_of(there)])
    return markdown(["data", "split", "method", *metrics, "seeds"], body, 3)


@table("classification-cost-differences")
def cost_differences(runs: Sequence[Run]) -> str:
    """A line a pair of methods: the difference with the half-width of its interval over seeds, and that over images."""
    body = []
    for run in with_rows(runs, "cost_differences"):
        rows = {row["over"]: row for row in run.rows["cost_differences"]}
        by_seed = rows["seeds"]
        half = [MISSING if row["ci95"] is None else f"± {row['ci95']:.3f}" for row in (by_seed, rows["images"])]
        about = [by_seed["dataset"], by_seed["method"], by_seed["against"], f"{by_seed['mean']:.3f}"]
        body.append([*about, *half, seeds_of([by_seed])])
    head = ["data", "method", "costs less than", "by", "over seeds", "over images", "seeds"]
    return markdown(head, sorted(body), 3)


def _cost(row: Mapping[str, Any]) -> str:
    return f"{row['mean']:.3f}" + ("" if row["ci95"] is None else f" ± {row['ci95']:.3f}")
