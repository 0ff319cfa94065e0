"""The table that compares the methods of classification: a row a method, a column a data set and encoder.

Of each result in models/results/comparison/ only the error on held-out images is shown, by the rule that the method itself
decides by: its classifier where it has one, else the posterior of its representatives, which for class means is the nearest
mean. The last row has the seeds of each column; a single seed's interval is over images, several seeds' over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from repmet.experiments.classification_tables import TRAINED, all_figures, interval, is_classification, seeds_of
from repmet.experiments.result_tables import NOTHING, Result, markdown, table

FOLDER = "comparison/"
DECIDES = ("classifier accuracy", "repmet accuracy")  # the first of them that there is


@table("classification-comparison", reads=is_classification)
def comparison(results: Sequence[Result]) -> str:
    """Error in percent on held-out images, mean over the seeds with the half-width of its 95 % interval."""
    found = all_figures([result for result in results if result.name.startswith(FOLDER)])
    chosen: dict[tuple[str, str], dict] = {}
    for metric in reversed(DECIDES):
        for (dataset, split, method, name), row in found.items():
            if name == metric and split not in TRAINED:
                title, _, encoder = method.rpartition(", ")
                chosen[title, f"{dataset}, {encoder}"] = row
    if not chosen:
        return NOTHING
    columns = sorted({column for _, column in chosen})
    return by_method(chosen, columns, lambda row: interval(1 - row["mean"], row["ci95"], 1))


def by_method(
    chosen: Mapping[tuple[str, str], Mapping[str, Any]],
    columns: Sequence[str],
    cell: Callable[[Mapping[str, Any]], str],
) -> str:
    """A row a method, and in the last one each column's seeds: `chosen` by method and column, each as `cell` spells it.

    Where a cell is of other seeds than its column, they follow in brackets.
    """
    usual = {own: seeds_of([row for (_, column), row in chosen.items() if column == own]) for own in columns}

    def spelled(title: str, column: str) -> str:
        if (title, column) not in chosen:
            return "–"
        seeds = seeds_of([chosen[title, column]])
        return cell(chosen[title, column]) + (f" ({seeds})" if seeds != usual[column] else "")

    body = [[title, *(spelled(title, column) for column in columns)] for title in sorted({title for title, _ in chosen})]
    return markdown(["method", *columns], [*body, ["seeds", *usual.values()]], 1)
