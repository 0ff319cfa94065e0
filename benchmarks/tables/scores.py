"""The tables of what scores mean, what clicks are worth, and what faults among the marks cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from repmet.benchmarks.tables.formatting import MISSING, NOTHING, markdown, percent_interval
from repmet.benchmarks.tables.registry import Cells, cells_of, table
from repmet.benchmarks.tables.runs import Run

Line = tuple[str, ...]

CALIBRATION = {
    "ece": "calibration error, %",
    "ece_product": "of softmax × objectness",
    "ece_softmax": "of softmax",
    "f1": "F1 at the automatic thresholds, %",
    "f1_best": "best of each class",
    "f1_common": "best for all",
    "f1_product": "softmax × objectness from 0.5",
    "f1_softmax": "softmax from 0.5",
}
UNKNOWN = {
    "auroc": "AUROC known against unknown, %",
    "auroc_product": "of softmax × objectness",
    "auroc_softmax": "of softmax",
    "false_finds_empty": "false finds an image without objects",
    "false_finds_empty_product": "softmax × objectness from 0.5",
    "false_finds_empty_softmax": "softmax from 0.5",
    "f1_unknown": "F1, %",
    "f1_unknown_best": "best of each class",
}
CLICKS = {
    "corrected_AP50": "AP50 as corrected, %",
    "anew_AP50": "fitted anew",
    "drawn_AP50": "drawn boxes",
    "accepted": "clicks that accepted, %",
    "anew_false_finds": "false finds an image",
    "drawn_false_finds": "of drawn boxes",
}
FAULTS = {
    "AP50": "AP50 as marked, %",
    "wrong_label": "one label in ten wrong",
    "wrong_label_robust": "both without outliers",
    "robust": "without outliers, none wrong",
    "AP50_half_known": "AP50 of half the marks, %",
    "half_partial": "half passed over, `partial`",
    "half_complete": "`complete`",
}
CHOSEN = {"chosen_AP50": "AP50 as chosen, %", "random_AP50": "by chance", "chosen": "difference"}
COUNTS = (
    "false_finds_empty",
    "false_finds_empty_product",
    "false_finds_empty_softmax",
    "anew_false_finds",
    "drawn_false_finds",
)
COVERED = {"precision_covered": "precision", "recall_covered": "recall"}


@table("score-calibration")
def score_calibration(runs: Sequence[Run]) -> str:
    """Calibration errors and F1 by set and number of marks, all classes shown; last the means over the sets."""
    return _by_set(runs, CALIBRATION)


@table("score-unknown")
def score_unknown(runs: Sequence[Run]) -> str:
    """Unknown objects and images without any object of the classes, where every second class is not shown."""
    return _by_set(runs, UNKNOWN)


@table("estimate-coverage")
def estimate_coverage(runs: Sequence[Run]) -> str:
    """The share of draws in which the 90 % interval held what the test list gives, by set and number of marks."""
    if not (cells := cells_of(runs, "score_quality", ("set", "marks"))):
        return NOTHING
    body = []
    sets, marks = _distinct(cells, 0), _distinct(cells, 1)
    for name in [*sets, "all"]:
        for metric, title in COVERED.items():
            rows = [[cells.get((s, k), {}).get(metric) for s in (sets if name == "all" else [name])] for k in marks]
            shares = [_share([row for row in of if row]) for of in [*rows, [row for of in rows for row in of]]]
            body.append([name, title, *shares])
    return markdown(["set", "interval of", *map(_marks, marks), "all"], body, 2)


def _by_set(runs: Sequence[Run], columns: Mapping[str, str]) -> str:
    cells = cells_of(runs, "score_quality", ("set", "marks"))
    kept = {line: of for line, of in cells.items() if any(metric in of for metric in columns)}
    return _with_means(kept, ("set", "marks"), columns)


def _distinct(cells: Iterable[Line], place: int) -> list[str]:
    return list(dict.fromkeys(line[place] for line in cells))


def _marks(number: str) -> str:
    return f"{number} mark" + ("" if number == "1" else "s")


def _mean(rows: Iterable[Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    there = [row for row in rows if row is not None]
    return {"metric": there[0]["metric"], "mean": float(np.mean([row["mean"] for row in there]))} if there else None


def _figure(row: Mapping[str, Any] | None) -> str:
    """In percent; counts as they are."""
    if row is None:
        return MISSING
    if row["metric"] not in COUNTS:
        return percent_interval(row)
    return f"{row['mean']:.2f}" + ("" if row.get("ci95") is None else f" ± {row['ci95']:.2f}")


def _share(rows: Sequence[Mapping[str, Any]]) -> str:
    """`covered of draws`."""
    draws = sum(row["n"] for row in rows)
    return f"{sum(row['mean'] * row['n'] for row in rows):.0f} of {draws}" if draws else MISSING


@table("clicks")
def clicks(runs: Sequence[Run]) -> str:
    """AP50 after so many clicks a class beside as many drawn boxes, by set and policy; last the means over the sets."""
    cells = cells_of(runs, "clicks", ("set", "policy", "clicks"))
    if not cells:
        return NOTHING
    for policy, number in dict.fromkeys((line[1], line[2]) for line in cells):
        of_all = [of for line, of in cells.items() if line[1:] == (policy, number) and line[0] != "mean"]
        means = {metric: _mean(of.get(metric) for of in of_all) for metric in CLICKS}
        cells["mean", policy, number] = {metric: row for metric, row in means.items() if row}
    body = [[*line, *(_figure(of.get(metric)) for metric in CLICKS)] for line, of in cells.items()]
    return markdown(["set", "policy", "clicks a class", *CLICKS.values()], body, 2)


@table("mark-faults")
def mark_faults(runs: Sequence[Run]) -> str:
    """What faults among the marks cost, by set; last the means over the sets."""
    return _with_means(cells_of(runs, "faults", ("set", "marks")), ("set", "marks"), FAULTS)


@table("chosen-images")
def chosen_images(runs: Sequence[Run]) -> str:
    """AP50 after so many more images were marked, those that were named next or by chance; last the means over the sets."""
    return _with_means(cells_of(runs, "chosen", ("set", "images")), ("set", "images marked more"), CHOSEN)


def _with_means(cells: Cells, about: Sequence[str], columns: Mapping[str, str]) -> str:
    if not cells:
        return NOTHING
    body = [[*line, *(_figure(of.get(metric)) for metric in columns)] for line, of in cells.items()]
    for k in _distinct(cells, 1):
        of_number = [of for line, of in cells.items() if line[1] == k]
        body.append(["mean", k, *(_figure(_mean(of.get(metric) for of in of_number)) for metric in columns)])
    return markdown([*about, *columns.values()], body, 2)
