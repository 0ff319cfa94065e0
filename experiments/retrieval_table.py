"""The table that compares losses by retrieval: a row a method, a column a data set, encoder and figure.

Of the results in models/results/retrieval/: how often the nearest neighbour is of the class, how the class lies among the
first neighbours, and how well a score tells right nearest neighbours from wrong ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.classification_tables import all_figures, interval, is_retrieval
from experiments.comparison_table import by_method
from experiments.result_tables import NOTHING, Result, table

FOLDER = "retrieval/"
FIGURES = ("recall@1", "MAP@R", "AUROC by norm", "AUROC by cosine", "AUROC by log-PPK")


@table("classification-retrieval", reads=is_retrieval)
def retrieval(results: Sequence[Result]) -> str:
    """Figures in percent on classes that were not trained on, mean over the seeds with the half-width of its interval."""
    found = all_figures([result for result in results if result.name.startswith(FOLDER)])
    chosen: dict[tuple[str, str], Mapping[str, Any]] = {}
    for (dataset, _, method, figure), row in found.items():
        if figure in FIGURES:
            title, _, encoder = method.rpartition(", ")
            chosen[title, f"{dataset}, {encoder}: {figure}"] = row
    if not chosen:
        return NOTHING
    sets = sorted({column.rpartition(": ")[0] for _, column in chosen})
    columns = [f"{name}: {figure}" for name in sets for figure in FIGURES]
    return by_method(chosen, columns, lambda row: interval(row["mean"], row["ci95"], 1))
