"""An image through an exported detector: what `detection.embedding` makes of it in torch, as arrays.

Shapes: P proposals of an image, G marks in it, O objects, f features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repmet.detection.exported.folder import read_facts
from repmet.detection.exported.resize import fitted_size, resized
from repmet.errors import UserError
from repmet.graph_session import chosen_runtime, open_session


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the graph gives of an image; boxes are x1, y1, x2, y2 in pixels of the image itself.

    Attributes:
        boxes, proposals, objectness: (P, 4), (P, 4) and (P,), as of `detection.embedding.embedded_image.EmbeddedImage`.
        embeddings: (P, f), of unit length.
        marked: (G, f), of the boxes that were marked.
        objects, object_scores: (O, 4) and (O,), what is found before a class is shown.
    """

    boxes: np.ndarray
    proposals: np.ndarray
    objectness: np.ndarray
    embeddings: np.ndarray
    marked: np.ndarray
    objects: np.ndarray
    object_scores: np.ndarray


class ExportedDetector:
    """A folder that `repmet export` wrote, opened.

    Args:
        folder: of the export.
        runtime, threads: as of `graph_session.open_session`.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a file is damaged; no such runtime. MissingPackage: it is not installed.
    """

    def __init__(self, folder: str | Path, runtime: str = "auto", threads: int | None = None) -> None:
        self.facts = read_facts(folder)
        graph = Path(folder) / self.facts.graph
        self.runtime = chosen_runtime(graph, runtime)
        self._session = open_session(graph, self.runtime, threads)

    def look(
        self, pixels: np.ndarray, marks: np.ndarray | None = None, *, name: str = "the image", times: float = 1.0
    ) -> Seen:
        """Runs the graph.

        Args:
            pixels: (H, W, 3) uint8, RGB.
            marks: (G, 4), boxes in them whose embeddings are asked for.
            name: of the image, for the message.
            times: the size that images are brought to.

        Raises:
            ValueError: the image is so narrow that nothing of it is left when it is scaled.
        """
        height, width = pixels.shape[:2]
        size = fitted_size(width, height, max(1, round(self.facts.size * times)))
        if min(size) < 1:
            raise UserError(f"{name}: too odd an image to be looked at ({width}x{height})")
        scale = np.tile(np.divide(size, (width, height)), 2).astype(np.float32)
        corners = np.zeros((0, 4), np.float32) if marks is None else np.asarray(marks, np.float32) * scale
        outputs = self._session.run({"image": resized(pixels, size), "marks": corners})
        back = {name: outputs[name] / scale for name in ("boxes", "proposals", "objects")}
        return Seen(**outputs | back)
