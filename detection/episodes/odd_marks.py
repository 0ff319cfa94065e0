"""Marks that are boxes and still teach little: of a whole image, of a few pixels, of one place under two names."""

from collections.abc import Sequence

import numpy as np

from repmet.data.files.walk import say_once
from repmet.data.sources.voc import ImageRecord
from repmet.detection.metrics.iou import pairwise_iou

WHOLE = 0.95  # of an image's area: nothing around the object is left
NARROW = 6  # pixels: less than a cell of the finest map, whatever the image is scaled to
SAME_PLACE = 0.95  # IoU


def say_odd_marks(records: Sequence[ImageRecord]) -> None:
    """Says, in a line for each kind, what is odd about the plain boxes of some images; they are learnt from all the same."""
    for said, places in odd_marks(records).items():
        more = f", and {len(places) - 1} more" if len(places) > 1 else ""
        say_once(f"{places[0]}{more}: {said}")


def odd_marks(records: Sequence[ImageRecord]) -> dict[str, list[str]]:
    """By what is odd, the places where it is so: "CLASS in IMAGE"."""
    odd: dict[str, list[str]] = {}
    for record in records:
        plain = np.flatnonzero(~np.asarray(record.difficult, bool))
        boxes, names = record.boxes[plain], [record.names[i] for i in plain]
        sides = boxes[:, 2:] - boxes[:, :2]  # (M, 2)
        for name, (width, height) in zip(names, sides.tolist(), strict=True):
            place = f"{name} in {record.id}"
            if width * height >= WHOLE * record.width * record.height:
                odd.setdefault("the box is the whole image, so nothing tells what the class is not", []).append(place)
            if min(width, height) < NARROW:
                odd.setdefault(f"the box is less than {NARROW} pixels wide or high: too little to be seen", []).append(place)
        overlaps = pairwise_iou(boxes, boxes)
        for i, j in zip(*np.nonzero(np.triu(overlaps >= SAME_PLACE, 1)), strict=True):
            if names[i] != names[j]:
                said = "one box is marked as two classes, which it cannot tell apart"
                odd.setdefault(said, []).append(f"{names[i]} and {names[j]} in {record.id}")
    return odd
