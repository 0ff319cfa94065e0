"""How far what a runtime gives of an image lies from what torch gives.

Shapes: P boxes of an image, f features.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.exported.look import ExportedDetector, Seen
from repmet.errors import UserError

PIXELS, VALUES = 0.01, 1e-4  # what may lie between two boxes, and between two scores or features
TIES = 0.05  # share of boxes that suppression may choose otherwise, where two overlap by just the threshold


@dataclass(frozen=True)
class Difference:
    """Of one image.

    Attributes:
        boxes: P in torch.
        chosen_otherwise: how many of them the runtime has not, within `PIXELS`.
        pixels, objectness, features: the largest difference among the others.
    """

    boxes: int
    chosen_otherwise: int
    pixels: float
    objectness: float
    features: float

    @property
    def is_small(self) -> bool:
        ties = self.chosen_otherwise <= max(1, TIES * self.boxes)
        return ties and self.pixels <= PIXELS and max(self.objectness, self.features) <= VALUES


def pairs(expected: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the boxes (P, 4) and (P', 4) that are the same within `PIXELS`, whatever their order."""
    if not len(expected) or not len(boxes):
        return np.zeros(0, int), np.zeros(0, int)
    distance = np.abs(expected[:, None] - boxes[None]).max(-1)
    nearest = distance.argmin(1)
    same = distance[np.arange(len(expected)), nearest] <= PIXELS
    return np.flatnonzero(same), nearest[same]


def difference(expected: EmbeddedImage, seen: Seen, space: str = "repmet") -> Difference:
    """Between an image embedded in torch and by a runtime."""
    a, b = pairs(expected.proposals.numpy(), seen.proposals)

    def largest(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.abs(first[a] - second[b]).max(initial=0.0))

    return Difference(
        boxes=len(expected.proposals),
        chosen_otherwise=len(expected.proposals) - len(a),
        pixels=max(largest(expected.proposals.numpy(), seen.proposals), largest(expected.boxes.numpy(), seen.boxes)),
        objectness=largest(expected.objectness.numpy(), seen.objectness),
        features=largest(expected.embeddings[space].numpy(), seen.embeddings),
    )


def check_parity(embedder: Embedder, exported: ExportedDetector, images: Iterable[OpenImage]) -> None:
    """Raises UserError where the runtime gives another result than torch."""
    for record in images:
        apart = difference(embedder([record])[record.id], exported.look(record.pixels))
        if not apart.is_small:
            raise UserError(f"{exported.runtime} gives other results than torch here ({apart}); use torch")
