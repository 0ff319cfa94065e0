"""A figure of a trained classifier as a row of results: what it is of, as the experiment's section `report` says it."""

from __future__ import annotations

from typing import Any

from repmet.classification.checkpoint import Trained
from repmet.experiments.reporting.intervals import Estimate
from repmet.experiments.reporting.rows import result_row


def names_of(trained: Trained, split: str) -> dict[str, Any]:
    """{dataset, split, method, seeds} of whatever is measured on the experiment's `data.<split>`."""
    report, data = trained.cfg.get("report") or {}, trained.cfg.data
    method = [report.get("method") or trained.method.title, report.get("encoder")]
    return {
        "dataset": report.get("dataset") or data.source,
        "split": str(data.get(split)),
        "method": ", ".join(part for part in method if part),
        "seeds": [trained.seed if trained.seed is not None else 0],
    }


def row_of(trained: Trained, split: str, metric: str, estimate: Estimate) -> dict[str, Any]:
    """A row of `repmet.experiments.reporting.rows`."""
    return result_row(estimate, metric=metric, **names_of(trained, split))
