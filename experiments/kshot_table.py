"""The table of few-shot VOC and COCO: figures over lists of shots (`detection.evaluate --seeds N` or `--lists DIR`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.experiments.result_tables import NOTHING, Result, markdown, table

FIGURES = ("nAP50", "nAP50_voc07", "nAP", "bAP50", "bAP50_voc07", "bAP")


def has_lists(content: Mapping[str, Any]) -> bool:
    """Whether an evaluation was over lists of shots."""
    return bool(content.get("k_shot"))


@table("detection-k-shot", reads=has_lists)
def k_shot(results: Sequence[Result]) -> str:
    """A row an experiment and number of shots: mean in percent over the lists with the half-width of its 95 % interval."""
    body = [
        [result.content["experiment"], str(row["shot"]), str(len(row["seeds"])), *(_cell(row.get(name)) for name in FIGURES)]
        for result in results
        for row in result.content["k_shot"]
    ]
    return markdown(["experiment", "shots", "lists", *FIGURES], body, 1) if body else NOTHING


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "–"
    return f"{100 * figure['mean']:.1f}" + (f" ± {100 * figure['ci95']:.1f}" if figure["ci95"] is not None else "")
