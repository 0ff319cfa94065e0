"""The arrays that the metrics read: one row a box, named columns, checked once where they come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

DETECTION_COLUMNS = ("episode", "image", "class", "score", "x1", "y1", "x2", "y2")
GROUND_TRUTH_COLUMNS = ("episode", "image", "class", "x1", "y1", "x2", "y2")  # and, where there is one, "difficult"


class ScoredBoxes(NamedTuple):
    """Scored boxes: `image`, `label` (n,) int64, `score` (n,) float32 above 0, `boxes` (n, 4) as x1, y1, x2, y2."""

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    boxes: np.ndarray


class GroundTruth(NamedTuple):
    """Marked boxes: `image`, `label` (m,) int64, `boxes` (m, 4), `difficult` (m,) bool: neither asked for nor punished."""

    image: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    difficult: np.ndarray


def as_table(array: np.ndarray, columns: Sequence[str], what: str, optional: str | None = None) -> np.ndarray:
    """`array` as (rows, columns), without a copy where it is one; an empty one of any shape gives (0, columns).

    Raises:
        ValueError: the number of columns is neither that of `columns` nor, with `optional`, one more.
    """
    table = np.asarray(array)
    if table.size == 0:
        return np.empty((0, len(columns)), dtype=np.float64)
    widths = (len(columns), len(columns) + 1) if optional else (len(columns),)
    if table.ndim != 2 or table.shape[1] not in widths or table.dtype.kind not in "fiub":
        more = f" and, if wanted, {optional}" if optional else ""
        raise ValueError(
            f"{what}: expected a numeric array of the columns {', '.join(columns)}{more}; "
            f"got shape {table.shape} of {table.dtype}"
        )
    return table


def read_detections(table: np.ndarray, what: str = "detections") -> ScoredBoxes:
    """Rows of image, class, score, x1, y1, x2, y2 (n, 7); those with score 0 are dropped, as the protocols do.

    Raises:
        ValueError: a value is not finite, an image or class is no whole number, or a score is negative.
    """
    _finite(table, what)
    score = table[:, 2].astype(np.float32)
    if (score < 0).any():
        row = int(np.argmax(score < 0))
        raise ValueError(f"{what}: the score {score[row]} in row {row} is negative; map scores to values above 0 first")
    kept = slice(None) if score.all() else score > 0
    image, label = _whole(table[:, 0], what, "image"), _whole(table[:, 1], what, "class")
    return ScoredBoxes(image[kept], label[kept], score[kept], table[:, 3:7][kept])


def read_ground_truth(table: np.ndarray, what: str = "ground truth") -> GroundTruth:
    """Rows of image, class, x1, y1, x2, y2 and perhaps difficult (m, 6 or 7).

    Raises:
        ValueError: a value is not finite, an image or class is no whole number, a box ends before it begins, or
            `difficult` is neither 0 nor 1 (as when rows of detections are given for ground truth).
    """
    _finite(table, what)
    boxes = table[:, 2:6]
    upside_down = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    if upside_down.any():
        row = int(np.argmax(upside_down))
        raise ValueError(f"{what}: the box {boxes[row].tolist()} in row {row} ends before it begins (x1, y1, x2, y2)")
    difficult = table[:, 6] if table.shape[1] == 7 else np.zeros(len(table))
    if not np.isin(difficult, (0, 1)).all():
        raise ValueError(f"{what}: the last column, difficult, holds {difficult.max():g}; it is 0 or 1")
    image, label = _whole(table[:, 0], what, "image"), _whole(table[:, 1], what, "class")
    return GroundTruth(image, label, boxes, difficult.astype(bool))


class ByEpisode:
    """The rows of every episode of a table whose first column numbers it; one episode is copied at a time."""

    def __init__(self, table: np.ndarray) -> None:
        number = table[:, 0]
        if np.isnan(number).any():
            raise ValueError(f"row {int(np.argmax(np.isnan(number)))} has no episode: its number is not finite")
        self._table = table
        self._order = None if (number[1:] >= number[:-1]).all() else np.argsort(number, kind="stable")
        ordered = number if self._order is None else number[self._order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else np.empty(0, dtype=int)
        ends = np.append(starts[1:], len(ordered))
        self._spans = {float(ordered[a]): (int(a), int(b)) for a, b in zip(starts, ends, strict=True)} if len(starts) else {}

    @property
    def numbers(self) -> list[float]:
        return list(self._spans)

    def rows(self, number: float) -> np.ndarray:
        """The rows of an episode without its number, in the order given."""
        start, end = self._spans.get(number, (0, 0))
        rows = slice(start, end) if self._order is None else self._order[start:end]
        return self._table[rows][:, 1:]


def _finite(table: np.ndarray, what: str) -> None:
    if table.dtype.kind == "f" and not np.isfinite(table).all():
        row = int(np.argmin(np.isfinite(table).all(axis=1)))
        raise ValueError(f"{what}: row {row} holds a value that is not finite: {table[row].tolist()}")


def _whole(column: np.ndarray, what: str, name: str) -> np.ndarray:
    whole = column.astype(np.int64)
    if not np.array_equal(whole, column):
        row = int(np.argmax(whole != column))
        raise ValueError(f"{what}: {name} {column[row]} in row {row} is no whole number; is the order of columns right?")
    return whole
