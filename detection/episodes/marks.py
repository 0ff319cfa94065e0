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
    records: Sequence[ImageRecord], classes: Sequence[str], k: int, seed: int, *, share: float = 1.0
) -> list[tuple[tuple[str, int], ...]]:
    """By class, at most `k` boxes; those of fewer are the first of those of more.

    A class's marks depend on the seed and on its own images alone.

    Args:
        share: of the images that hold a class, at most so many give marks, in (0, 1]: the others are left to be searched.

    Raises:
        ValueError: a class has no box that is not difficult.
    """
    by_id = {r.id: r for r in sorted(records, key=lambda r: r.id)}
    marks = []
    for name in classes:
        boxes = {i: plain for i, r in by_id.items() if (plain := plain_boxes(r, name))}
        if not boxes:
            raise UserError(f"{name}: no box of it that is not difficult is among the images to mark")
        every = draw_boxes(boxes, name, sum(map(len, boxes.values())), seed)  # image by image
        giving = set(list(dict.fromkeys(i for i, _ in every))[: int(share * len(boxes))])
        marks.append(tuple([mark for mark in every if mark[0] in giving][:k]))
    return marks
