"""The tables of few images a class on frozen features: heads side by side, what probabilities, refusals and suspicions of
labels are worth, and images of several classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.formatting import MISSING, NOTHING, markdown, percent_interval
from repmet.benchmarks.tables.registry import cells_of, table
from repmet.benchmarks.tables.runs import Run

FIGURES = {
    "accuracy": "accuracy, %",
    "ece": "calibration error, %",
    "auroc": "AUROC of unknown, %",
    "known_refused": "known refused, %",
    "unknown_refused": "unknown refused, %",
}


@table("few-shot-heads")
def few_shot_heads(runs: Sequence[Run]) -> str:
    """Accuracy by set, method and shots with the time at the most shots; RepMet's paired differences from logistic
    regression."""
    cells = cells_of(runs, "few_shot_heads", ("set", "method", "shot"))
    if not cells:
        return NOTHING
    shots = sorted({int(line[2]) for line in cells})
    body = []
    for name, method in dict.fromkeys(line[:2] for line in cells):
        of = {shot: cells.get((name, method, str(shot)), {}) for shot in shots}
        took = [rows["milliseconds"]["mean"] for rows in of.values() if rows]
        body.append([name, method, *(_figure(of[shot].get("accuracy")) for shot in shots), f"{took[-1]:.0f}"])
        if method.startswith("RepMet"):
            above = [_figure(of[shot].get("above_logistic"), signed=True) for shot in shots]
            body.append([name, f"{method} - logistic regression", *above, MISSING])
    head = ["set", "method", *(f"{shot} image{'s' if shot > 1 else ''}" for shot in shots), "ms"]
    return markdown(head, body, 2)


@table("few-shot-images")
def few_shot_images(runs: Sequence[Run]) -> str:
    """What `repmet classify` says of images of its classes and of others."""
    cells = cells_of(runs, "few_shot_images", ("set", "head", "way", "shot"))
    body = [[*line, *(_figure(rows.get(metric)) for metric in FIGURES)] for line, rows in cells.items()]
    return markdown(["set", "head", "classes", "images a class", *FIGURES.values()], body, 2)


@table("mislabelled")
def mislabelled(runs: Sequence[Run]) -> str:
    """How well wrong labels are ranked."""
    cells = cells_of(runs, "mislabelled", ("set", "images", "share"))
    body = [[*line, _figure(rows.get("auroc")), _figure(rows.get("precision"))] for line, rows in cells.items()]
    head = ["set", "images a class", "share of wrong labels", "AUROC, %", "wrong labels among the first, %"]
    return markdown(head, body, 2)


@table("several-labels")
def several_labels(runs: Sequence[Run]) -> str:
    """Images of several classes each, beside logistic regression of each class."""
    cells = cells_of(runs, "several_labels", ("set", "method", "classes", "images"))
    body = []
    for line, rows in cells.items():
        losses = [f"{rows[key]['mean']:.3f}" for key in ("loss", "loss_shares")]
        body.append([*line, *(_figure(rows.get(key)) for key in ("map", "precision", "recall", "ece")), *losses])
    head = ["set", "method", "classes", "images", "mAP, %", "precision, %", "recall, %", "calibration error, %", "-ln p"]
    return markdown([*head, "-ln p of the shares alone"], body, 2)


def _figure(row: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    if row is None:
        return MISSING
    text = percent_interval(row)
    return f"+{text}" if signed and row["mean"] >= 0 else text
