"""Marks drawn from a person's own annotated images: k boxes of every class, by seed.

As `draw_lists` for K-shot lists, but for sets as people bring them: a class with fewer boxes gives those that it has.
"""

from __future__ import annotations

from collections.abc import Sequence

from repmet.data.sources.voc import ImageRecord
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.episodes.shot_lists import draw_boxes
from repmet.errors import UserError


def draw_marks(
    records: Sequence[ImageRecord], classes: Sequence[str], k: int, seed: int
) -> list[tuple[tuple[str, int], ...]]:
    """By class, at most `k` boxes; those of fewer are the first of those of more.

    A class's marks depend on the seed and on its own images alone.

    Raises:
        ValueError: a class has no box that is not difficult.
    """
    by_id = {r.id: r for r in sorted(records, key=lambda r: r.id)}
    marks = []
    for name in classes:
        boxes = {i: plain for i, r in by_id.items() if (plain := plain_boxes(r, name))}
        if not boxes:
            raise UserError(f"{name}: no box of it that is not difficult is among the images to mark")
        marks.append(draw_boxes(boxes, name, k, seed))
    return marks
