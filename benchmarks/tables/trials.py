"""The tables of trials: what the automatic thresholds were chosen by, and what negative representatives change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.formatting import MISSING, NOTHING, markdown, percent_interval
from repmet.benchmarks.tables.registry import cells_of, table
from repmet.benchmarks.tables.runs import Run

THRESHOLDS = ("set", "shown", "marks", "least", "quantile")
NEGATIVES = ("experiment", "shot", "scores")
CHANGED = {"without": "none: no negatives", "with": "all: negatives", "right": "right finds alone"}
CHANGED |= {"near": "boxes beside the object alone", "other class": "objects of other classes alone"}
CHANGED |= {"background": "background alone"}


@table("least-threshold")
def least_threshold(runs: Sequence[Run]) -> str:
    """F1 and wrong finds by least threshold and quantile, classes shown and marks."""
    body = []
    for (name, shown, marks, least, quantile), of in cells_of(runs, "thresholds", THRESHOLDS).items():
        figures = [percent_interval(of["f1"]), f"{of['false_finds']['mean']:.2f}", percent_interval(of["f1_common"])]
        body.append([name, shown, marks, f"{float(least):.2f}", f"{float(quantile):.2f}", *figures])
    head = ["set", "classes shown", "marks", "least threshold", "quantile", "F1, %", "wrong finds an image"]
    return markdown([*head, "F1 at the best threshold for all"], body, 1) if body else NOTHING


@table("negatives")
def negatives(runs: Sequence[Run]) -> str:
    """Pooled AP where negatives change the scores of one kind of boxes and no others, and by how much they change them."""
    body = []
    for (experiment, shot, scores), of in cells_of(runs, "negatives", NEGATIVES).items():
        pairs = f"{of['pairs']['mean']:,}" if "pairs" in of else MISSING
        away = f"{of['lengthened']['mean']:.3f}" if "lengthened" in of else MISSING
        changes = [_change(of, "without", "with"), _change(of, "auroc_without", "auroc_with")]
        body.append([experiment, CHANGED[scores], shot, percent_interval(of["AP"]), pairs, away, *changes])
    head = ["experiment", "whose scores are changed", "shots", "pooled AP, %", "pairs", "distance² +"]
    return markdown([*head, "score, %", "right above these, %"], body, 2) if body else NOTHING


def _change(of: Mapping[str, Mapping[str, Any]], before: str, after: str) -> str:
    return f"{100 * of[before]['mean']:.1f} → {100 * of[after]['mean']:.1f}" if before in of else MISSING
