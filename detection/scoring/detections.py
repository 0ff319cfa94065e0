"""What a detector found in one image; plain arrays, so that metrics, pictures and people read them without torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np

from repmet.errors import UserError

Found = TypeVar("Found", bound="Detections")


@dataclass(frozen=True, eq=False)
class Detections:
    """Scored boxes of one image.

    Attributes:
        boxes: (n, 4) float32, x1, y1, x2, y2 in pixels of the image from 0.
        scores: (n,) float32, in [0, 1].
        labels: (n,) int64, class numbers from 0.

    Raises:
        ValueError: the arrays differ in length or have another shape.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        boxes, scores = np.asarray(self.boxes, np.float32), np.asarray(self.scores, np.float32)
        labels = np.asarray(self.labels, np.int64)
        if boxes.size == 0:
            boxes = boxes.reshape(-1, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes) == scores.size == labels.size:
            shapes = f"{boxes.shape}, {scores.shape} and {labels.shape}"
            raise UserError(f"detections are boxes (n, 4), scores (n,) and labels (n,), not {shapes}")
        for name, value in (("boxes", boxes), ("scores", scores.reshape(-1)), ("labels", labels.reshape(-1))):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self: Found, rows: int | slice | np.ndarray | list[int]) -> Found:
        """Some of the detections: by number, slice, numbers or mask."""
        if isinstance(rows, int | np.integer):
            rows = [range(len(self))[int(rows)]]  # an IndexError where there is none
        chosen = np.arange(len(self))[rows]
        return replace(self, **{name: value[chosen] for name, value in self._rows().items()})

    def __eq__(self, other: Any) -> bool:
        """Equal in every array and in what else they hold."""
        if type(other) is not type(self):
            return NotImplemented
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays can be changed

    def best_first(self: Found) -> Found:
        """By falling score; equal ones in the order that they have."""
        return self[np.argsort(-self.scores, kind="stable")]

    def above(self: Found, score: float, labels: Collection[int] | None = None) -> Found:
        """Those with at least a score, and of some classes."""
        kept = self.scores >= score
        if labels is not None:
            kept &= np.isin(self.labels, list(labels))
        return self[kept]

    def _rows(self) -> dict[str, np.ndarray]:
        """The arrays that have a row for every detection."""
        return {"boxes": self.boxes, "scores": self.scores, "labels": self.labels}
