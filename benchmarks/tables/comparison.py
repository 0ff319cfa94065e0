"""The tables that compare methods, a line a method: classification by its error, and losses by retrieval.

The first takes the family `comparison`, of each run only the error on held-out images, by the rule that the method itself
decides by: its classifier where it has one, else the posterior of its representatives, which for class means is the nearest
mean. The others take the family `retrieval`: how often the nearest neighbour is of the class, how the class lies among the
first neighbours, and how well a score tells right nearest neighbours from wrong ones. The last line has the seeds of each
column; a single seed's interval is over images, several seeds' over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.classification import TRAINED, Key, all_figures
from repmet.benchmarks.tables.formatting import MISSING, NOTHING, error_interval, markdown, percent_interval, seeds_of
from repmet.benchmarks.tables.registry import table
from repmet.benchmarks.tables.runs import Run
from repmet.experiments.reporting.intervals import mean_interval

DECIDES = ("classifier accuracy", "repmet accuracy")  # the first of them that there is
RETRIEVAL_FIGURES = ("recall@1", "MAP@R", "AUROC by norm", "AUROC by cosine", "AUROC by log-PPK")
REFERENCE = "EL-nivMF"  # what its released forms, `EL-nivMF, ...`, are compared with

Chosen = dict[tuple[str, str], Mapping[str, Any]]  # rows by method and column


@table("classification-comparison")
def comparison(runs: Sequence[Run]) -> str:
    """Error in percent on held-out images, mean over the seeds with the half-width of its 95 % interval."""
    figures = all_figures([run for run in runs if run.family == "comparison"], "accuracies")
    chosen: Chosen = {}
    for decisive in reversed(DECIDES):
        for (dataset, split, method, metric), row in figures.items():
            if metric == decisive and split not in TRAINED:
                title, _, encoder = method.rpartition(", ")
                chosen[title, f"{dataset}, {encoder}"] = row
    return _by_method(chosen, sorted({column for _, column in chosen}), error_interval)


@table("classification-retrieval")
def retrieval(runs: Sequence[Run]) -> str:
    """Figures in percent on classes that were not trained on, mean over the seeds with the half-width of its interval."""
    chosen = {_place(key): row for key, row in _retrieval_figures(runs).items()}
    return _by_method(chosen, _retrieval_columns(chosen), percent_interval)


@table("classification-retrieval-differences")
def retrieval_differences(runs: Sequence[Run]) -> str:
    """What the released forms of EL-nivMF have more than the exact one, in points, paired by seed: mean and half-width."""
    by_seed: dict[tuple[str, str], dict[int, float]] = {}
    for run in runs:
        for key, row in _retrieval_figures([run]).items():
            by_seed.setdefault(_place(key), {})[row["seeds"][0]] = row["mean"]
    chosen: Chosen = {}
    for (title, column), values in by_seed.items():
        exact = by_seed.get((REFERENCE, column), {})
        seeds = sorted(values.keys() & exact.keys())
        if title.startswith(f"{REFERENCE}, ") and len(seeds) > 1:
            mean, ci95, _ = mean_interval([values[seed] - exact[seed] for seed in seeds])
            chosen[title, column] = {"mean": mean, "ci95": ci95, "seeds": seeds}
    return _by_method(chosen, _retrieval_columns(chosen), percent_interval)


def _by_method(chosen: Chosen, columns: Sequence[str], cell: Callable[[Mapping[str, Any]], str]) -> str:
    """A line a method, and in the last one each column's seeds; `cell` spells a row.

    Where a cell is of other seeds than its column, they follow in brackets.
    """
    if not chosen:
        return NOTHING
    usual = {name: seeds_of([row for (_, column), row in chosen.items() if column == name]) for name in columns}

    def spelled(title: str, column: str) -> str:
        if (title, column) not in chosen:
            return MISSING
        seeds = seeds_of([chosen[title, column]])
        return cell(chosen[title, column]) + (f" ({seeds})" if seeds != usual[column] else "")

    body = [[title, *(spelled(title, column) for column in columns)] for title in sorted({title for title, _ in chosen})]
    return markdown(["method", *columns], [*body, ["seeds", *usual.values()]], 1)


def _retrieval_figures(runs: Sequence[Run]) -> dict[Key, Mapping[str, Any]]:
    figures = all_figures([run for run in runs if run.family == "retrieval"], "retrieval")
    return {key: row for key, row in figures.items() if key[3] in RETRIEVAL_FIGURES}


def _place(key: Key) -> tuple[str, str]:
    """Method and column of a figure."""
    dataset, _, method, figure = key
    title, _, encoder = method.rpartition(", ")
    return title, f"{dataset}, {encoder}: {figure}"


def _retrieval_columns(chosen: Chosen) -> list[str]:
    sets = sorted({column.rpartition(": ")[0] for _, column in chosen})
    return [f"{name}: {figure}" for name in sets for figure in RETRIEVAL_FIGURES]
