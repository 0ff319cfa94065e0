"""A support or query image that is in memory: handed over as pixels, fetched from an address, or read a moment ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from repmet.data.files.pictures import open_rgb
from repmet.data.sources.voc import ImageRecord


@dataclass(frozen=True)
class OpenImage(ImageRecord):
    """A record with its picture: `pixels` (H, W, 3) uint8 in RGB, upright. `path` is a name where there is no file."""

    pixels: np.ndarray

    @classmethod
    def of(
        cls, name: str, picture: Image.Image, names: Sequence[str] = (), boxes: Sequence[Sequence[float]] = ()
    ) -> OpenImage:
        """A picture in RGB with its marked boxes, x1, y1, x2, y2 in pixels from 0."""
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        plain = np.zeros(len(names), bool)
        return cls(name, Path(name), *picture.size, tuple(names), corners, plain, np.asarray(picture))

    @classmethod
    def read(cls, record: ImageRecord) -> OpenImage:
        """A record of a file with what the file holds."""
        return cls(**vars(record), pixels=np.asarray(open_rgb(record.path)))


def image_key(record: ImageRecord) -> str:
    """The same for two records of one picture: its file, or of an image in memory its pixels."""
    if record.path is not None and record.path.is_file():
        return str(record.path.resolve())
    return sha256(record.pixels).hexdigest() if isinstance(record, OpenImage) else f"{record.path} {record.id}"


def with_boxes(record: ImageRecord, more: ImageRecord) -> ImageRecord:
    """A record whose boxes are followed by those of another record of the same picture."""
    return replace(
        record,
        names=record.names + more.names,
        boxes=np.concatenate([record.boxes, more.boxes]),
        difficult=np.concatenate([record.difficult, more.difficult]),
    )


def picture(record: ImageRecord) -> Image.Image:
    """The picture of a record in RGB, upright.

    Raises:
        ValueError: its file cannot be read as an image; the message names it.
    """
    return Image.fromarray(record.pixels) if isinstance(record, OpenImage) else open_rgb(record.path)
