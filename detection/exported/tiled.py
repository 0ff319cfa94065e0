"""An image through an exported detector whole and in tiles (`detection.tiles`), all of its boxes together."""

from dataclasses import replace

import numpy as np

from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.exported.look import ExportedDetector, Seen
from repmet.detection.tiles import uncut, windows


def look_in_tiles(detector: ExportedDetector, record: OpenImage, tile: int | None, *, name: str = "the image") -> Seen:
    """What the graph makes of an image and of its tiles; objects of no class and marks are those of the whole.

    Args:
        tile: side of the tiles, None for none.
        name: of the image, for a message.
    """
    whole = detector.look(record.pixels, name=name)
    seen = [whole]
    for window in windows(record.width, record.height, tile):
        x1, y1, x2, y2 = window
        part = detector.look(np.ascontiguousarray(record.pixels[y1:y2, x1:x2]), name=name)
        size = (record.width, record.height)
        kept = uncut(part.boxes, window, *size) & uncut(part.proposals, window, *size)
        shift = np.array([x1, y1, x1, y1], np.float32)
        moved = {"boxes": part.boxes[kept] + shift, "proposals": part.proposals[kept] + shift}
        seen.append(replace(part, **moved, objectness=part.objectness[kept], embeddings=part.embeddings[kept]))
    rows = ("boxes", "proposals", "objectness", "embeddings")
    return replace(whole, **{row: np.concatenate([getattr(part, row) for part in seen]) for row in rows})
