"""The tables that compare losses by retrieval: a row a method, a column a data set, encoder and figure.

Of the results in models/results/retrieval/: how often the nearest neighbour is of the class, how the class lies among the
first neighbours, and how well a score tells right nearest neighbours from wrong ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repmet.experiments.classification_tables import Key, all_figures, interval, is_retrieval
from repmet.experiments.comparison_table import by_method
from repmet.experiments.result_tables import NOTHING, Result, table

FOLDER = "retrieval/"
FIGURES = ("recall@1", "MAP@R", "AUROC by norm", "AUROC by cosine", "AUROC by log-PPK")


REFERENCE = "EL-nivMF"  # what its released forms, `EL-nivMF, ...`, are compared with


@table("classification-retrieval", reads=is_retrieval)
def retrieval(results: Sequence[Result]) -> str:
    """Figures in percent on classes that were not trained on, mean over the seeds with the half-width of its interval."""
    found = all_figures(_own(results))
    chosen = {_place(key): row for key, row in found.items() if key[3] in FIGURES}
    return by_method(chosen, _columns(chosen), _percent) if chosen else NOTHING


@table("classification-retrieval-differences", reads=is_retrieval)
def differences(results: Sequence[Result]) -> str:
    """What the released forms of EL-nivMF have more than the exact one, in points, paired by seed: mean and half-width."""
    by_seed: dict[tuple[str, str], dict[int, float]] = {}
    for result in _own(results):
        for key, row in all_figures([result]).items():
            if key[3] in FIGURES:
                by_seed.setdefault(_place(key), {})[row["seeds"][0]] = row["mean"]
    chosen: dict[tuple[str, str], Mapping[str, Any]] = {}
    for (title, column), values in by_seed.items():
        exact = by_seed.get((REFERENCE, column), {})
        seeds = sorted(values.keys() & exact.keys())
        if title.startswith(f"{REFERENCE}, ") and len(seeds) > 1:
            from repmet.classification.metrics.intervals import seed_interval  # imports torch

            mean, ci95, _ = seed_interval([values[seed] - exact[seed] for seed in seeds])
            chosen[title, column] = {"mean": mean, "ci95": ci95, "seeds": seeds}
    return by_method(chosen, _columns(chosen), _percent) if chosen else NOTHING


def _own(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if result.name.startswith(FOLDER)]


def _place(key: Key) -> tuple[str, str]:
    """Method and column of a figure."""
    dataset, _, method, figure = key
    title, _, encoder = method.rpartition(", ")
    return title, f"{dataset}, {encoder}: {figure}"


def _columns(chosen: Mapping[tuple[str, str], Any]) -> list[str]:
    sets = sorted({column.rpartition(": ")[0] for _, column in chosen})
    return [f"{name}: {figure}" for name in sets for figure in FIGURES]


def _percent(row: Mapping[str, Any]) -> str:
    return interval(row["mean"], row["ci95"], 1)
