"""A result as a row: {dataset, split, method, metric, mean, ci95, n, seeds}; accuracies are fractions, costs have units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from repmet.errors import UserError
from repmet.experiments.reporting.intervals import Estimate, mean_interval

FIGURE = ("dataset", "split", "method", "metric")


def episode_metric(way: int, shot: int) -> str:
    """The name of a few-shot figure, such as `5-way 1-shot accuracy`."""
    return f"{way}-way {shot}-shot accuracy"


def result_row(
    estimate: Estimate, *, dataset: str, split: str, method: str, metric: str, seeds: Sequence[int]
) -> dict[str, Any]:
    """One measured figure.

    Args:
        estimate: the mean, its half-width, and the number of values behind both: episodes, images of the set, or seeds.
        metric: as `episode_metric` spells it, or the rule of `accuracies` with " accuracy": `simple accuracy`.
        seeds: of the trainings that were measured.

    Returns:
        JSON's own types only; `ci95` is None where it is not known, as of one value.

    Raises:
        ValueError: an accuracy that is no fraction, a negative figure, or no seed.
    """
    mean = estimate.mean
    if not 0 <= mean <= (1 if metric.endswith("accuracy") else math.inf):
        raise UserError(f"{metric} of {method} on {dataset} {split} is {mean}, not a fraction")
    if not seeds:
        raise UserError(f"{metric} of {method} on {dataset} {split} names no seed")
    return {
        "dataset": dataset,
        "split": split,
        "method": method,
        "metric": metric,
        **estimate.as_json(),
        "seeds": sorted(int(seed) for seed in seeds),
    }


def over_seeds(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of trainings that differ in their seed alone, one row a figure: the mean over seeds, with `mean_interval`.

    A figure of one training stays as it is, with its interval over episodes or images.

    Raises:
        ValueError: a figure is there twice for one seed, or a row has been summed up over seeds before.
    """
    figures: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        figures.setdefault(tuple(row[key] for key in FIGURE), []).append(row)
    return [_joined(same) for same in figures.values()]


def _joined(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(rows) == 1:
        return dict(rows[0])
    seeds = [seed for row in rows for seed in row["seeds"]]
    name = " ".join(rows[0][key] for key in FIGURE)
    if len(seeds) != len(rows):
        raise UserError(f"{name}: rows of one seed each can be summed up, not those of the seeds {seeds}")
    if len(set(seeds)) != len(seeds):
        raise UserError(f"{name} is there twice for one seed: {sorted(seeds)}")
    estimate = mean_interval([row["mean"] for row in rows])
    return result_row(estimate, seeds=seeds, **{key: rows[0][key] for key in FIGURE})
