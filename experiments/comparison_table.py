"""The table that compares the methods of classification: a row a method, a column a data set and encoder.

Of each result in models/results/comparison/ only the error on held-out images is shown, by the rule that the method itself
decides by: its classifier where it has one, else the posterior of its representatives, which for class means is the nearest
mean. The last row has the seeds of each column; a single seed's interval is over images, several seeds' over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.classification_tables import TRAINED, all_figures, interval, is_classification, seeds_of
from experiments.result_tables import NOTHING, Result, markdown, table

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
    columns_seeds = [seeds_of([row for (_, column), row in chosen.items() if column == own]) for own in columns]
    body = []
    for title in sorted({title for title, _ in chosen}):
        rows = [chosen.get((title, column)) for column in columns]
        body.append([title, *(_error(row, seeds) for row, seeds in zip(rows, columns_seeds, strict=True))])
    return markdown(["method", *columns], [*body, ["seeds", *columns_seeds]], 1)


def _error(row: Mapping | None, usual: str) -> str:
    """A cell; where it is of other seeds than its column, they follow in brackets."""
    if row is None:
        return "–"
    seeds = seeds_of([row])
    return interval(1 - row["mean"], row["ci95"], 1) + (f" ({seeds})" if seeds != usual else "")
