"""The table of what an ordinary detector learns from labels that a few-shot detector wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.formatting import MISSING, NOTHING, markdown
from repmet.benchmarks.tables.registry import table, with_rows
from repmet.benchmarks.tables.runs import Run

DETECTORS = {
    "teacher": "teacher: the detector that ships, {marks} marks a class",
    "student": "student: on what the teacher labelled, from {accept:g} on",
    "by_hand": "the same on the annotations of all {images} images",
}
FIGURES = {"AP50": 100, "AP": 100, "minutes": 1}


@table("distil")
def distil(runs: Sequence[Run]) -> str:
    """Teacher, student and a detector of hand-made labels on a test list, and what each took."""
    body = []
    for run in with_rows(runs, "distil"):
        lines: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
        for row in run.rows["distil"]:
            lines.setdefault((row["set"], row["detector"]), {})[row["metric"]] = row
        for (name, detector), of in lines.items():
            figures = [f"{factor * of[key]['mean']:.1f}" if key in of else MISSING for key, factor in FIGURES.items()]
            body.append([name, DETECTORS[detector].format(**of["AP50"]), f"{of['boxes']['mean']:.0f}", *figures])
    head = ["set", "detector", "boxes to learn from", "AP50, %", "AP, %", "minutes"]
    return markdown(head, body, 2) if body else NOTHING
