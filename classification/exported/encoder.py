"""Pictures to embeddings by an exported graph: what `classification.image_encoder.ImageEncoder` gives in torch.

Shapes: B pictures, e embedding dimensions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repmet.classification.encoder import fitted_pixels
from repmet.classification.exported.folder import read_facts
from repmet.graph_session import chosen_runtime, open_session


class ExportedEncoder:
    """A folder that `repmet export --classifier` wrote, opened.

    Args:
        folder: of the export.
        runtime, threads: as of `repmet.graph_session.open_session`.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a file is damaged; no such runtime. MissingPackage: it is not installed.
    """

    def __init__(self, folder: str | Path, runtime: str = "auto", threads: int | None = None) -> None:
        self.facts = read_facts(folder)
        self.size, self.source, self.sigma = self.facts.size, self.facts.source, self.facts.sigma
        graph = Path(folder) / self.facts.graph
        self.runtime = chosen_runtime(graph, runtime)
        self._session = open_session(graph, self.runtime, threads)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return self.facts.digest

    def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """A picture in RGB at the network's size, (H, W, C)."""
        return fitted_pixels(picture, self.size, self.facts.channels)

    def embedded(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embeddings (B, e) of pictures as `pixels` gives them."""
        none = np.zeros((1, 1, self.facts.dim), np.float32)  # of a class: what is learnt is told apart by `array_head`
        return self._session.run({"images": np.stack(pixels), "representatives": none})["embeddings"]
