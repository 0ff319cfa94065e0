"""Images embedded whole and in tiles (`detection.tiles`), all of an image's boxes together."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.tiles import Window, tile_of, uncut, windows


def embedded_in_tiles(records: Sequence[OpenImage], embedder: Embedder, tile: int | None) -> dict[str, EmbeddedImage]:
    """By id, what the network makes of images and of their tiles; those that are not cut as they are.

    Args:
        tile: side of the tiles, None for none.
    """
    cut = {r.id: [(w, tile_of(r, w)) for w in windows(r.width, r.height, tile)] for r in records}
    embedded = embedder([*records, *(part for parts in cut.values() for _, part in parts)])
    return {
        r.id: merged(embedded[r.id], [(w, embedded[part.id]) for w, part in cut[r.id]], (r.width, r.height)) for r in records
    }


def merged(whole: EmbeddedImage, parts: Sequence[tuple[Window, EmbeddedImage]], size: tuple[int, int]) -> EmbeddedImage:
    """An image with the boxes of its tiles that no side of a tile cuts off; marked boxes are those of the whole."""
    if not parts:
        return whole
    images = [whole]
    for window, part in parts:
        kept = torch.from_numpy(uncut(part.boxes.numpy(), window, *size) & uncut(part.proposals.numpy(), window, *size))
        shift = torch.tensor(window[:2], dtype=torch.float32).repeat(2)
        images.append(
            replace(
                part,
                boxes=part.boxes[kept] + shift,
                proposals=part.proposals[kept] + shift,
                objectness=part.objectness[kept],
                embeddings={space: rows[kept] for space, rows in part.embeddings.items()},
                lengths=None if part.lengths is None else part.lengths[kept],
            )
        )
    rows = {name: torch.cat([getattr(i, name) for i in images]) for name in ("boxes", "proposals", "objectness")}
    lengths = None if whole.lengths is None else torch.cat([i.lengths for i in images])
    embeddings = {space: torch.cat([i.embeddings[space] for i in images]) for space in whole.embeddings}
    return replace(whole, **rows, embeddings=embeddings, lengths=lengths)
