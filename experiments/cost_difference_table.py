"""The table of how much less a method's mistakes cost than another's, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.experiments.classification_tables import seeds_of
from repmet.experiments.result_tables import NOTHING, Result, markdown, table

INTERVALS = ("seeds", "images")


def is_cost_difference(content: Mapping[str, Any]) -> bool:
    """Whether `classification.protocols.cost_difference` wrote this."""
    return bool(content.get("cost_differences"))


@table("classification-cost-differences", reads=is_cost_difference)
def cost_differences(results: Sequence[Result]) -> str:
    """A row a pair of methods: the difference with the half-width of its interval over seeds, and that over images."""
    body = []
    for result in results:
        rows = {row["over"]: row for row in result.content["cost_differences"]}
        some = rows["seeds"]
        half = ["–" if rows[over]["ci95"] is None else f"± {rows[over]['ci95']:.3f}" for over in INTERVALS]
        about = [some["dataset"], some["method"], some["against"], f"{some['mean']:.3f}"]
        body.append([*about, *half, seeds_of([some])])
    head = ["data", "method", "costs less than", "by", "over seeds", "over images", "seeds"]
    return markdown(head, sorted(body), 3) if body else NOTHING
