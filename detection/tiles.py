"""Overlapping tiles of large images, for objects that are small in them; what a network sees of an image is a small square.

Whole images are looked at too: an object that is cut in every tile is whole there. What a tile cuts off is left out: a box
that touches a side of its tile where the image goes on. All boxes of an image then go through one scoring and one
suppression within each class. (sahi and supervision's InferenceSlicer merge labelled boxes after a detector's own scoring.
Here embeddings are merged before any class is scored, so that corrections, unknown objects and thresholds see tiles too.)

Shapes: n boxes; boxes are x1, y1, x2, y2 in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.episodes.open_image import OpenImage
from repmet.errors import UserError

AUTO, OFF = "auto", "off"
WELL_SEEN = 48  # pixels of the network that an object's side should have
LARGER = 1.5  # an image is cut where it is so much larger than a tile: of `auto`, where objects' sides are below 32 pixels
OVERLAP = 0.25  # of neighbouring tiles, as a share of their side
LEAST = 0.5  # of the network's side, the smallest tile of `auto`: larger magnification shows nothing new
MAX_TILES = 64  # of an image; where it takes more, the tiles are larger
EDGE = 2.0  # pixels: a box so near to the side of its tile is cut off
Window = tuple[int, int, int, int]
Record = TypeVar("Record", bound=ImageRecord)


def check_tile(tile: object) -> str | int:
    """`auto`, `off`, or a side in pixels, of a number or its text.

    Raises:
        ValueError: it is none of them.
    """
    if tile in (AUTO, OFF):
        return str(tile)
    if isinstance(tile, str) and tile.isdecimal():
        tile = int(tile)
    if not isinstance(tile, int) or isinstance(tile, bool) or tile < 32:
        raise UserError(f"tile is {AUTO}, {OFF} or a side of at least 32 pixels, not {tile!r}")
    return tile


def tile_side(tile: str | int, records: Iterable[ImageRecord], size: int | None) -> int | None:
    """The side of the tiles that images are to be cut into, None for no tiles.

    By `auto` the class of the smallest objects decides: the median side a (of a square of the same area) of its supports
    should have `WELL_SEEN` pixels where the network sees a tile of side T as `size` pixels, T = a size / WELL_SEEN.

    Args:
        tile: `auto`, `off`, or a side.
        records: the support images with their marks.
        size: of the square that the network sees; None of networks that see images of any size, where `auto` is `off`.
    """
    if isinstance(tile, int):
        return tile
    if tile == OFF or size is None:
        return None
    sides: dict[str, list[float]] = {}
    for record in records:
        for name in set(record.names):
            extents = [record.boxes[b][2:] - record.boxes[b][:2] for b in plain_boxes(record, name)]
            sides.setdefault(name, []).extend(math.sqrt(w * h) for w, h in extents if w > 0 and h > 0)
    medians = [float(np.median(values)) for values in sides.values() if values]
    return max(round(min(medians) * size / WELL_SEEN), round(LEAST * size)) if medians else None


def windows(width: int, height: int, tile: int | None) -> list[Window]:
    """The tiles of an image, evenly spread and of one size; none where the image is not much larger than one."""
    if tile is None or max(width, height) <= LARGER * tile:
        return []
    side = float(tile)
    while (columns := _count(width, side)) * (rows := _count(height, side)) > MAX_TILES:
        side *= 1.1
    w, h = min(round(side), width), min(round(side), height)
    lefts = np.linspace(0, width - w, columns).round().astype(int)
    tops = np.linspace(0, height - h, rows).round().astype(int)
    return [(int(x), int(y), int(x) + w, int(y) + h) for y in tops for x in lefts]


def _count(extent: int, side: float) -> int:
    return 1 if extent <= side else math.ceil((extent - OVERLAP * side) / ((1 - OVERLAP) * side))


def uncut(boxes: NDArray[np.float32], window: Window, width: int, height: int) -> NDArray[np.bool_]:
    """Which boxes (n, 4), in pixels of the tile, no side of it cuts off but those that are the image's own."""
    x1, y1, x2, y2 = window
    inner = np.array([x1 > 0, y1 > 0, x2 < width, y2 < height])
    room = np.stack([boxes[:, 0], boxes[:, 1], x2 - x1 - boxes[:, 2], y2 - y1 - boxes[:, 3]], 1)
    return ~((room < EDGE) & inner).any(1)


def tile_of(record: OpenImage, window: Window) -> OpenImage:
    """A part of an image as one of its own, without boxes."""
    x1, y1, x2, y2 = window
    name = f"{record.id} at {x1}, {y1}"
    none = replace(record, names=(), boxes=np.zeros((0, 4), np.float32), difficult=np.zeros(0, bool))
    pixels = np.ascontiguousarray(record.pixels[y1:y2, x1:x2])
    return replace(none, id=name, path=Path(name), width=x2 - x1, height=y2 - y1, pixels=pixels)


def cut_out(records: Sequence[Record], tile: int | None) -> list[Record | OpenImage]:
    """Support images, those that are to be cut replaced by the tiles around their marks: supports are then embedded at
    the scale at which their like will be met. A mark that is larger than a tile stays in its whole image."""
    cut: list[Record | OpenImage] = []
    for record in records:
        if not windows(record.width, record.height, tile):
            cut.append(record)
            continue
        assert tile is not None
        image = record if isinstance(record, OpenImage) else OpenImage.read(record)
        rest = list(range(len(record.names)))
        while rest:
            window = _around(record.boxes[rest[0]], tile, record.width, record.height)
            if window is None:
                cut.append(_with(image, image, [rest.pop(0)], (0, 0)))
                continue
            inside = [b for b in rest if _holds(window, record.boxes[b])]
            cut.append(_with(tile_of(image, window), image, inside, window[:2]))
            rest = [b for b in rest if b not in inside]
    return cut


def _around(box: NDArray[np.float32], tile: int, width: int, height: int) -> Window | None:
    """A tile with a box near its middle, at multiples of a quarter of it: the same for boxes that nearly agree."""
    w, h, step = min(tile, width), min(tile, height), max(tile // 4, 1)
    x, y = ((box[:2] + box[2:] - (w, h)) / 2 / step).round() * step
    left, top = int(np.clip(x, 0, width - w)), int(np.clip(y, 0, height - h))
    window = (left, top, left + w, top + h)
    return window if _holds(window, box) else None


def _holds(window: Window, box: NDArray[np.float32]) -> bool:
    return bool((box[:2] >= window[:2]).all() and (box[2:] <= window[2:]).all())


def _with(part: OpenImage, image: OpenImage, marks: list[int], corner: tuple[int, int]) -> OpenImage:
    """A part of an image with some of its marks."""
    return replace(
        part,
        names=tuple(image.names[b] for b in marks),
        boxes=image.boxes[marks] - np.tile(np.array(corner, np.float32), 2),
        difficult=image.difficult[marks],
    )
