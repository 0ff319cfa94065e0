"""The tables of classification: few-shot accuracies, errors on whole sets, and what the trainings took.

Rows of several runs that differ in their seed alone become one figure, with its interval over seeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.formatting import (
    MISSING,
    count,
    duration,
    error_interval,
    markdown,
    memory,
    percent_interval,
    seeds_of,
)
from repmet.benchmarks.tables.registry import table, with_rows
from repmet.benchmarks.tables.runs import Run
from repmet.errors import UserError
from repmet.experiments.reporting.rows import over_seeds

EPISODIC = re.compile(r"(\d+)-way (\d+)-shot accuracy")
RULES = ("simple", "magnet", "repmet", "unsupervised")  # columns that come first, in this order
TRAINED = ("train", "trainval", "background")  # splits that are trained on
BARS = "▁▂▃▄▅▆▇█"

Key = tuple[str, str, str, str]  # data set, split, method, metric


@table("classification-few-shot")
def few_shot(runs: Sequence[Run]) -> str:
    """Episodes: lines data set, split and method; columns way and shot; mean and 95 % half-width in percent."""
    figures = {key: row for key, row in all_figures(runs, "accuracies").items() if EPISODIC.fullmatch(key[3])}
    metrics = sorted({key[3] for key in figures}, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
    body = []
    for place in dict.fromkeys(key[:3] for key in figures):
        cells = [figures.get((*place, metric)) for metric in metrics]
        there = [row for row in cells if row is not None]
        numbers = ", ".join(f"{n:,}" for n in sorted({row["n"] for row in there}))
        accuracies = [MISSING if row is None else percent_interval(row, 2) for row in cells]
        body.append([*place, *accuracies, numbers, seeds_of(there)])
    head = ["data", "split", "method", *(metric.removesuffix(" accuracy") for metric in metrics), "n", "seeds"]
    return markdown(head, body, 3)


@table("classification-errors")
def errors(runs: Sequence[Run]) -> str:
    """Whole sets: 1 - accuracy in percent by every rule, on the training images and, in brackets, on those held out."""
    figures = {key: row for key, row in all_figures(runs, "accuracies").items() if not EPISODIC.fullmatch(key[3])}
    names = {key[3].removesuffix(" accuracy") for key in figures}
    rules = [rule for rule in RULES if rule in names] + sorted(names - set(RULES))
    trained: dict[tuple[str, str], dict[str, Mapping]] = {}
    held_out: dict[tuple[str, str, str], dict[str, Mapping]] = {}
    for (dataset, split, method, metric), row in figures.items():
        rule = metric.removesuffix(" accuracy")
        if split in TRAINED:
            trained.setdefault((dataset, method), {})[rule] = row
        else:
            held_out.setdefault((dataset, split, method), {})[rule] = row
    evaluated = {(dataset, method) for dataset, _, method in held_out}
    for dataset, method in trained.keys() - evaluated:
        held_out[dataset, MISSING, method] = {}
    body = []
    for (dataset, split, method), others in sorted(held_out.items()):
        on_trained = trained.get((dataset, method), {})
        cells = [_pair(on_trained.get(rule), others.get(rule)) for rule in rules]
        body.append([dataset, split, method, *cells, seeds_of([*on_trained.values(), *others.values()])])
    return markdown(["data", "held out", "method", *(f"{rule}, train (held out)" for rule in rules), "seeds"], body, 3)


@table("classification-training")
def training(runs: Sequence[Run]) -> str:
    """What the trainings took, in the mean over the seeds, and how the loss of the first of them fell."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in with_rows(runs, "accuracies", "retrieval"):
        if run.training:
            method = (run.rows.get("accuracies") or run.rows["retrieval"])[0]["method"]
            groups.setdefault((str(run.experiment), method, str(run.training.get("machine", ""))), []).append(run)
    body = []
    for (experiment, method, machine), group in groups.items():
        records = [run.training for run in group if run.training]
        seeds = ", ".join(str(MISSING if run.seed is None else run.seed) for run in group)
        counts = [count(_mean(records, key, whole=True)) for key in ("images", "epochs", "steps")]
        took = [duration(_mean(records, "seconds")), memory(_mean(records, "peak_memory")), _curve(records[0].get("losses"))]
        body.append([experiment, method, seeds, *counts, *took, machine])
    head = ["experiment", "method", "seeds", "images", "epochs", "steps", "time", "peak memory", "loss", "machine"]
    return markdown(head, body, 2, left_from=8)


def all_figures(runs: Sequence[Run], kind: str) -> dict[Key, Mapping[str, Any]]:
    """Every figure of a kind by what it is of, several trainings summed up.

    Raises:
        ValueError: two runs give one figure of one seed.
    """
    origin: dict[tuple, Run] = {}
    for run in runs:
        for row in run.rows.get(kind, ()):
            for seed in row["seeds"]:
                first = origin.setdefault((*_key(row), seed), run)
                if first is not run:
                    figure = f"{row['metric']} of {row['method']} on {row['dataset']} {row['split']}"
                    raise UserError(f"{first} and {run} both hold {figure} of seed {seed}: keep one")
    return {_key(row): row for row in over_seeds(row for run in runs for row in run.rows.get(kind, ()))}


def _key(row: Mapping[str, Any]) -> Key:
    return row["dataset"], row["split"], row["method"], row["metric"]


def _pair(trained: Mapping | None, held_out: Mapping | None) -> str:
    if trained is None and held_out is None:
        return MISSING
    on_trained, on_held_out = (MISSING if row is None else error_interval(row) for row in (trained, held_out))
    return f"{on_trained} ({on_held_out})"


def _mean(trainings: Sequence[Mapping[str, Any]], key: str, *, whole: bool = False) -> float | None:
    values = [record[key] for record in trainings if record.get(key) is not None]
    mean = sum(values) / len(values) if values else None
    return round(mean) if whole and mean is not None else mean


def _curve(losses: Sequence[float] | None) -> str:
    """First and last value, and between them a bar for each."""
    if not losses:
        return MISSING
    low, high = min(losses), max(losses)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    bars = "".join(BARS[round((loss - low) * scale)] for loss in losses)
    return f"{losses[0]:.3g} {bars} {losses[-1]:.3g}"
