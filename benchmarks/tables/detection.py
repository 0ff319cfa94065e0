"""The tables of detection: episodes of novel classes, lists of shots, base classes, and what the trainings took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from repmet.benchmarks.tables.formatting import MISSING, NOTHING, count, duration, markdown, percent, percent_interval
from repmet.benchmarks.tables.registry import table, with_rows
from repmet.benchmarks.tables.runs import Run
from repmet.errors import UserError

KINDS = ("few_shot", "shot_lists", "base_classes")
METHODS = {
    "repmet": "RepMet",
    "baseline_untrained": "nearest support, untrained head",
    "baseline_roi": "nearest support, RoI features",
    "np_repmet": "NP-RepMet",
    "calibrated": "RepMet, calibrated by RoI features",
    "baseline_ft": "new last layer",
    "tfa_cosine": "new last layer, cosine (TFA)",
    "repmet_finetuned": "RepMet",  # its rows say that it was fine-tuned
}
FIGURES = {
    "repmet_pooled": "Pooled AP (RepMet's protocol) [95 % interval where measured]",
    "pooled_ap": "Pooled AP, greedy matching",
    "class_map": "Mean AP over classes",
    "episode_map": "Mean AP over episodes [95 % interval]",
    "recall": "Recall",
    "pooled_difference": "Pooled AP minus RepMet's on the same episodes [95 % interval]",
    "difference": "Mean AP over episodes minus RepMet's on the same ones [95 % interval]",
}
LIST_FIGURES = ("nAP50", "nAP50_voc07", "nAP", "bAP50", "bAP50_voc07", "bAP")
BASE_FIGURES = {"voc07": "VOC07 AP50, %", "voc": "AP50, %", "coco": "COCO AP, %"}

Cell = dict[str, Mapping[str, Any]]  # rows of one method and shot by metric


class Line(NamedTuple):
    """What a line of a table is of."""

    experiment: str
    protocol: str
    method: str


@table("detection-few-shot")
def few_shot(runs: Sequence[Run]) -> str:
    """All figures, a table each: lines experiment, protocol and method, columns shots."""
    lines, shots = _lines(runs)
    parts = []
    for figure, title in FIGURES.items():
        if any(figure in cell for cells in lines.values() for cell in cells.values()):
            body = [[*line, *(_figure(cells.get(shot), figure) for shot in shots)] for line, cells in lines.items()]
            parts.append(f"**{title}**, %\n\n" + markdown([*Line._fields, *(f"{shot}-shot" for shot in shots)], body, 3))
    return "\n\n".join(parts) if lines else NOTHING


@table("detection-few-shot-summary")
def few_shot_summary(runs: Sequence[Run]) -> str:
    """The published protocol's figure, the mean over episodes with its interval, and its paired difference to RepMet's."""
    lines, shots = _lines(runs)
    cells = [cell for of_shots in lines.values() for cell in of_shots.values()]
    pooled_interval = any("ci95" in cell.get("repmet_pooled", {}) for cell in cells)
    short = {"repmet_pooled": "pooled AP" + (" [95 %]" if pooled_interval else ""), "episode_map": "episode mAP [95 %]"}
    if any("difference" in cell for cell in cells):
        short |= {"difference": "difference to RepMet [95 %]"}
    columns = [(shot, figure) for shot in shots for figure in short]
    body = [[*line, *(_figure(cells.get(shot), figure) for shot, figure in columns)] for line, cells in lines.items()]
    return markdown([*Line._fields, *(f"{shot}-shot {short[figure]}" for shot, figure in columns)], body, 3)


@table("detection-base")
def base(runs: Sequence[Run]) -> str:
    """AP on the classes that a detector was trained on."""
    body = []
    for run in with_rows(runs, "base_classes"):
        figures = {row["metric"]: row["mean"] for row in run.rows["base_classes"]}
        line = [str(run.experiment), *(percent(figures.get(name)) for name in BASE_FIGURES)]
        body += [] if line in body else [line]  # one detector may be scored by several rules
    return markdown(["experiment", *BASE_FIGURES.values()], body, 1)


@table("training")
def training(runs: Sequence[Run]) -> str:
    """What the training behind the figures took."""
    body = []
    for run in with_rows(runs, *KINDS):
        if record := run.training:
            counts = [count(record.get("images")), count(record.get("epochs"))]
            line = [str(run.experiment), *counts, duration(record.get("seconds")), str(record.get("machine", ""))]
            body += [] if line in body else [line]  # one detector may be scored by several rules
    return markdown(["experiment", "images", "epochs", "time", "machine"], body, 1, left_from=4)


@table("detection-k-shot")
def shot_lists(runs: Sequence[Run]) -> str:
    """Few-shot VOC and COCO: a line an experiment and number of shots, mean over the lists with its interval."""
    body = []
    for run in with_rows(runs, "shot_lists"):
        by_shot: dict[int, dict[str, Mapping]] = {}
        for row in run.rows["shot_lists"]:
            by_shot.setdefault(row["shot"], {})[row["metric"]] = row
        for shot, figures in by_shot.items():
            lists = len(next(iter(figures.values()))["seeds"])
            cells = [percent_interval(figures[name]) if name in figures else MISSING for name in LIST_FIGURES]
            body.append([str(run.experiment), str(shot), str(lists), *cells])
    return markdown(["experiment", "shots", "lists", *LIST_FIGURES], body, 1)


def _lines(runs: Sequence[Run]) -> tuple[dict[Line, dict[int, Cell]], list[int]]:
    """By experiment, protocol and method the figures of every shot; and the shots there are.

    Raises:
        ValueError: two runs give one result.
    """
    lines: dict[Line, dict[int, Cell]] = {}
    origin: dict[tuple[Line, int], Run] = {}
    for run in with_rows(runs, "few_shot"):
        protocols = {protocol["shot"]: _protocol(protocol, run.rule or {}) for protocol in run.episodes}
        line_of: dict[tuple[str, int], Line] = {}
        for row in run.rows["few_shot"]:
            method = METHODS.get(row["method"], row["method"]) + (", fine-tuned" if row["finetune"] else "")
            line = line_of[row["method"], row["shot"]] = Line(str(run.experiment), protocols[row["shot"]], method)
            first = origin.setdefault((line, row["shot"]), run)
            if first is not run:
                figure = f"{row['shot']}-shot {method} of {line.experiment} ({line.protocol})"
                raise UserError(f"{first} and {run} both hold {figure}: keep one")
            lines.setdefault(line, {}).setdefault(row["shot"], {})[row["metric"]] = row
        for row in run.rows.get("few_shot_differences", ()):
            lines[line_of[row["method"], row["shot"]]][row["shot"]][row["metric"]] = row
    return lines, sorted({shot for cells in lines.values() for shot in cells})


def _protocol(protocol: Mapping[str, Any], rule: Mapping[str, Any]) -> str:
    """How episodes were drawn, and what the rule adds to the published one: figures of one are not those of another."""
    views, scales = rule.get("support_views", 1), rule.get("support_scales", [1])
    said = {
        "with objectness": rule.get("objectness"),
        f"{views} views of a support": views > 1,
        f"supports at {', '.join(map('{:g}'.format, scales))} times the size": len(scales) > 1,
        "base classes compete": rule.get("base_columns"),
    }
    drawn = f"{protocol['way']}-way, {protocol['query']} queries, {protocol['episodes']} episodes"
    return drawn + "".join(f", {text}" for text, holds in said.items() if holds)


def _figure(cell: Cell | None, figure: str) -> str:
    """A figure in percent with its interval, where it has one; a difference with its sign."""
    if cell is None or figure not in cell:
        return MISSING
    text = percent_interval(cell[figure])
    return f"+{text}" if "difference" in figure and cell[figure]["mean"] >= 0 else text
