"""The tables of classification: few-shot accuracies, errors on whole sets, and what the trainings took.

A file's `results` are rows {dataset, split, method, metric, mean, ci95, n, seeds}; rows of several files that differ in
their seed alone become one figure, with its interval over seeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from repmet.experiments.result_tables import Result, count, duration, markdown, table

EPISODIC = re.compile(r"(\d+)-way (\d+)-shot accuracy")
RULES = ("simple", "magnet", "repmet", "unsupervised")  # columns that come first, in this order
TRAINED = ("train", "trainval", "background")  # splits that are trained on
BARS = "▁▂▃▄▅▆▇█"


def is_classification(content: Mapping[str, Any]) -> bool:
    """Whether this is a `metrics.json` of classification, or a `retrieval.json`."""
    rows = content.get("results")
    return (
        "experiment" in content
        and isinstance(rows, list)
        and bool(rows)
        and all(isinstance(row, dict) and "dataset" in row and "metric" in row for row in rows)
    )


def is_retrieval(content: Mapping[str, Any]) -> bool:
    """Whether this is a `retrieval.json`: what the training took, and figures that are no accuracies of classes."""
    return is_classification(content) and any(row["metric"].startswith(("recall@", "MAP@R")) for row in content["results"])


@table("classification-few-shot", reads=is_classification)
def few_shot(results: Sequence[Result]) -> str:
    """Episodes: rows data set, split and method; columns way and shot; mean and 95 % half-width in percent."""
    figures = {key: row for key, row in all_figures(results).items() if EPISODIC.fullmatch(key[3])}
    metrics = sorted({key[3] for key in figures}, key=lambda name: [int(n) for n in EPISODIC.fullmatch(name).groups()])
    body = []
    for place in dict.fromkeys(key[:3] for key in figures):
        cells = [figures.get((*place, metric)) for metric in metrics]
        there = [row for row in cells if row is not None]
        body.append([*place, *(_accuracy(row) for row in cells), _numbers(there), seeds_of(there)])
    head = ["data", "split", "method", *(metric.removesuffix(" accuracy") for metric in metrics), "n", "seeds"]
    return markdown(head, body, 3)


@table("classification-errors", reads=is_classification)
def errors(results: Sequence[Result]) -> str:
    """Whole sets: 1 - accuracy in percent by every rule, on the training images and, in brackets, on those held out."""
    classified = [result for result in results if not is_retrieval(result.content)]
    figures = {key: row for key, row in all_figures(classified).items() if not EPISODIC.fullmatch(key[3])}
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
        held_out[dataset, "–", method] = {}
    body = []
    for (dataset, split, method), others in sorted(held_out.items()):
        own = trained.get((dataset, method), {})
        cells = [_pair(own.get(rule), others.get(rule)) for rule in rules]
        body.append([dataset, split, method, *cells, seeds_of([*own.values(), *others.values()])])
    return markdown(["data", "held out", "method", *(f"{rule}, train (held out)" for rule in rules), "seeds"], body, 3)


@table("classification-training", reads=is_classification)
def training(results: Sequence[Result]) -> str:
    """What the trainings took, in the mean over the seeds, and how the loss of the first of them fell."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        if made := result.content.get("training"):
            method = result.content["results"][0]["method"]
            groups.setdefault((result.content["experiment"], method, str(made.get("machine", ""))), []).append(result)
    body = []
    for (experiment, method, machine), own in groups.items():
        made = [result.content["training"] for result in own]
        seeds = ", ".join(str(result.content.get("seed", "–")) for result in own)
        counts = [count(_mean(made, key, whole=True)) for key in ("images", "epochs", "steps")]
        took = [duration(_mean(made, "seconds")), _memory(_mean(made, "peak_memory")), _curve(made[0].get("losses"))]
        body.append([experiment, method, seeds, *counts, *took, machine])
    head = ["experiment", "method", "seeds", "images", "epochs", "steps", "time", "peak memory", "loss", "machine"]
    return markdown(head, body, 2, left_from=8)


def _mean(trainings: Sequence[Mapping], key: str, *, whole: bool = False) -> float | None:
    values = [made[key] for made in trainings if made.get(key) is not None]
    mean = sum(values) / len(values) if values else None
    return round(mean) if whole and mean is not None else mean


def has_costs(content: Mapping[str, Any]) -> bool:
    """Whether this is a `metrics.json` of classification that measured what mistakes cost."""
    return is_classification(content) and bool(content.get("costs"))


@table("classification-costs", reads=has_costs)
def costs(results: Sequence[Result]) -> str:
    """What mistakes cost: a row a method, a column a figure, in its own units; trainings summed up over seeds."""
    figures = all_figures(results, "costs")
    metrics = list(dict.fromkeys(key[3] for key in figures))
    body = []
    for place in sorted(dict.fromkeys(key[:3] for key in figures)):
        cells = [figures.get((*place, metric)) for metric in metrics]
        there = [row for row in cells if row is not None]
        body.append([*place, *("–" if row is None else _figure(row) for row in cells), seeds_of(there)])
    return markdown(["data", "split", "method", *metrics, "seeds"], body, 3)


def _figure(row: Mapping) -> str:
    return f"{row['mean']:.3f}" + ("" if row["ci95"] is None else f" ± {row['ci95']:.3f}")


Key = tuple[str, str, str, str]  # data set, split, method, metric


def all_figures(results: Sequence[Result], section: str = "results") -> dict[Key, Mapping]:
    """Every figure by its name, several trainings summed up.

    Raises:
        ValueError: two files give one figure of one seed.
    """
    origin: dict[tuple, str] = {}
    rows = [(result.name, row) for result in results for row in result.content[section]]
    for name, row in rows:
        for seed in row["seeds"]:
            key = (*_key(row), seed)
            if key in origin:
                raise ValueError(f"{origin[key]}.json and {name}.json both hold {_spelled(row)} of seed {seed}: keep one")
            origin[key] = name
    if not rows:
        return {}
    from repmet.classification.metrics.result_rows import (
        over_seeds,  # imports torch; only where there is something to sum up
    )

    return {_key(row): row for row in over_seeds(row for _, row in rows)}


def _key(row: Mapping) -> Key:
    return row["dataset"], row["split"], row["method"], row["metric"]


def _spelled(row: Mapping) -> str:
    return f"{row['metric']} of {row['method']} on {row['dataset']} {row['split']}"


def _accuracy(row: Mapping | None) -> str:
    return "–" if row is None else interval(row["mean"], row["ci95"])


def _pair(trained: Mapping | None, held_out: Mapping | None) -> str:
    return "–" if trained is None and held_out is None else f"{_error(trained)} ({_error(held_out)})"


def _error(row: Mapping | None) -> str:
    return "–" if row is None else interval(1 - row["mean"], row["ci95"], 1)


def interval(mean: float, ci95: float | None, digits: int = 2) -> str:
    """A fraction and its half-width in percent."""
    return f"{100 * mean:.{digits}f}" + ("" if ci95 is None else f" ± {100 * ci95:.{digits}f}")


def _numbers(rows: Sequence[Mapping]) -> str:
    return ", ".join(f"{n:,}" for n in sorted({row["n"] for row in rows}))


def seeds_of(rows: Sequence[Mapping]) -> str:
    """All seeds of some figures; more than three in a row as `0–9`."""
    runs: list[list[int]] = []
    for seed in sorted({seed for row in rows for seed in row["seeds"]}):
        if runs and runs[-1][-1] == seed - 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 3 else ", ".join(map(str, run)) for run in runs)


def _memory(bytes_: float | None) -> str:
    return "–" if bytes_ is None else f"{bytes_ / 2**30:.2f} GiB"


def _curve(losses: Sequence[float] | None) -> str:
    """First and last value, and between them a bar for each."""
    if not losses:
        return "–"
    low, high = min(losses), max(losses)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    bars = "".join(BARS[round((loss - low) * scale)] for loss in losses)
    return f"{losses[0]:.3g} {bars} {losses[-1]:.3g}"
