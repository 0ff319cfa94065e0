"""What the network made of an image: all that the episodes need of it.

Shapes: P proposals of an image, G annotated boxes of it, e embedding dimensions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# What an embedding may come from: the trained head, the same head as it was initialised, the RoI features before it.
SPACES = ("repmet", "baseline_untrained", "baseline_roi")
FEATURES = "baseline_roi"  # of these, the RoI features


@dataclass(frozen=True)
class EmbeddedImage:
    """What the episodes need of one image. All boxes are x1, y1, x2, y2 in pixels of the original image.

    Attributes:
        boxes: (P, 4), the boxes that the detector predicts (class-agnostic).
        proposals: (P, 4), the regions that the embeddings were pooled from.
        objectness: (P,), the proposal network's probability that there is an object of any class.
        embeddings: by space, (P, e), unit length; of a head that has one also its `negative` embedding.
        annotated: by space, (G, e), pooled from the annotated boxes themselves.
        lengths, annotated_lengths: (P,) and (G,), how long the RoI features were before `baseline_roi` made them unit.
        views: by space, (V - 1, G, e), the annotated boxes in turned and mirrored images (`detection.embedding.views`).
    """

    boxes: Tensor
    proposals: Tensor
    objectness: Tensor
    embeddings: Mapping[str, Tensor]
    annotated: Mapping[str, Tensor]
    lengths: Tensor | None = None
    annotated_lengths: Tensor | None = None
    views: Mapping[str, Tensor] | None = None


def raw_features(image: EmbeddedImage, *, annotated: bool = False) -> Tensor:
    """RoI features with their own length, of the proposals (P, f) or of the annotated boxes (G, f)."""
    if annotated:
        return image.annotated[FEATURES] * image.annotated_lengths[:, None]
    return image.embeddings[FEATURES] * image.lengths[:, None]


def at_proposals(image: EmbeddedImage, rows: Tensor) -> EmbeddedImage:
    """An image with some of its proposals alone, by number."""
    parts = {name: getattr(image, name)[rows] for name in ("boxes", "proposals", "objectness")}
    lengths = None if image.lengths is None else image.lengths[rows]
    embeddings = {space: values[rows] for space, values in image.embeddings.items()}
    return replace(image, **parts, embeddings=embeddings, lengths=lengths)


def with_annotated(image: EmbeddedImage, more: EmbeddedImage) -> EmbeddedImage:
    """An image whose annotated boxes are followed by those of the same image embedded with others."""

    def cat(name: str, dim: int = 0) -> dict[str, Tensor] | Tensor | None:
        first, second = getattr(image, name), getattr(more, name)
        if first is None or second is None:
            return None
        if isinstance(first, Mapping):
            return {space: torch.cat([first[space], second[space]], dim) for space in first}
        return torch.cat([first, second], dim)

    parts = {"annotated": cat("annotated"), "annotated_lengths": cat("annotated_lengths"), "views": cat("views", 1)}
    return replace(image, **parts)


def as_annotated(image: EmbeddedImage, proposal: int, looks: int) -> EmbeddedImage:
    """An image whose annotated box is one of its proposals; all other looks, so many, take that proposal's embedding."""
    rows = {space: values[proposal][None] for space, values in image.embeddings.items()}
    lengths = None if image.lengths is None else image.lengths[proposal][None]
    others = {space: row[None].expand(looks, -1, -1) for space, row in rows.items()} if looks else None
    return replace(image, annotated=rows, annotated_lengths=lengths, views=others)


def joined(images: Sequence[EmbeddedImage]) -> EmbeddedImage:
    """The boxes of several images as those of one: what is computed row by row is computed once for all."""

    def cat(name: str) -> Tensor | None:
        parts = [getattr(image, name) for image in images]
        return None if parts[0] is None else torch.cat(parts)

    embeddings = _Joined([image.embeddings for image in images])
    rows = {name: cat(name) for name in ("boxes", "proposals", "objectness", "lengths")}
    return EmbeddedImage(**rows, embeddings=embeddings, annotated={})


class _Joined(Mapping):
    """Embeddings by space, put together when they are asked for: a method looks at one of them, and they are large."""

    def __init__(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        self.parts = parts

    def __getitem__(self, space: str) -> Tensor:
        return torch.cat([part[space] for part in self.parts])

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts[0])

    def __len__(self) -> int:
        return len(self.parts[0])
