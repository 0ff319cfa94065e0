"""The tables of what the page costs and what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from repmet.benchmarks.tables.formatting import NOTHING, markdown
from repmet.benchmarks.tables.registry import table, with_rows
from repmet.benchmarks.tables.runs import Run


@table("page-times")
def page_times(runs: Sequence[Run]) -> str:
    """Seconds to the page, and milliseconds from a box to the finds of the image on the screen."""
    head = ["set", "images", "s to the page", "box to finds, ms", "95 % within, ms"]
    body = [
        [name, f"{images:,}", f"{of['page_s']:.1f}", f"{of['median_ms']:.0f}", f"{of['p95_ms']:.0f}"]
        for name, images, of in _lines(runs, "page")
    ]
    return markdown(head, body, 1) if body else NOTHING


@table("page-person")
def page_person(runs: Sequence[Run]) -> str:
    """What a simulated person does, and what is right in all images afterwards."""
    head = ["set", "images corrected", "actions", "boxes right", "wrong", "right boxes an action"]
    body = [
        [
            *(name, f"{images}", f"{of['actions']:.0f}", f"{of['right']:.0f} of {of['objects']:.0f}"),
            *(f"{of['wrong']:.0f}", f"{of['boxes_per_action']:.1f}"),
        ]
        for name, images, of in _lines(runs, "person")
    ]
    return markdown(head, body, 1) if body else NOTHING


def _lines(runs: Sequence[Run], kind: str) -> list[tuple[str, int, dict[str, float]]]:
    """By set and number of images, the figures."""
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    for run in with_rows(runs, kind):
        for row in run.rows[kind]:
            lines.setdefault((row["set"], row["images"]), {})[row["metric"]] = row["mean"]
    return [(*line, of) for line, of in lines.items()]
