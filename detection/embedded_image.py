"""What the network made of an image: all that the episodes need of it.

Shapes: P proposals of an image, G annotated boxes of it, e embedding dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

# The embeddings that are kept, by the method that uses them.
METHODS = ("repmet", "baseline_untrained", "baseline_roi")


@dataclass(frozen=True)
class EmbeddedImage:
    """What the episodes need of one image. All boxes are x1, y1, x2, y2 in pixels of the original image.

    Attributes:
        boxes: (P, 4), the boxes that the detector predicts (class-agnostic).
        proposals: (P, 4), the regions that the embeddings were pooled from.
        objectness: (P,), the proposal network's probability that there is an object of any class.
        embeddings: by method, (P, e), unit length; of a head that has one also its `negative` embedding.
        annotated: by method, (G, e), pooled from the annotated boxes themselves.
        lengths, annotated_lengths: (P,) and (G,), how long the RoI features were before `baseline_roi` made them unit.
    """

    boxes: Tensor
    proposals: Tensor
    objectness: Tensor
    embeddings: dict[str, Tensor]
    annotated: dict[str, Tensor]
    lengths: Tensor | None = None
    annotated_lengths: Tensor | None = None


def joined(images: Sequence[EmbeddedImage]) -> EmbeddedImage:
    """Several images as one, box after box: what is computed row by row is computed once for all."""

    def cat(name: str) -> Tensor | dict[str, Tensor] | None:
        parts = [getattr(image, name) for image in images]
        if isinstance(parts[0], dict):
            common = [method for method in parts[0] if all(method in part for part in parts)]
            return {method: torch.cat([part[method] for part in parts]) for method in common}
        return None if parts[0] is None else torch.cat(parts)

    return EmbeddedImage(**{field.name: cat(field.name) for field in fields(EmbeddedImage)})
