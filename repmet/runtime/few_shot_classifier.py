"""`FewShotClassifier` without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repmet.classification.classifying import ClassifiesImages, check_modes
from repmet.classification.exported.encoder import ExportedEncoder


class FewShotClassifier(ClassifiesImages):
    """The exported classifier: its face is that of `classification.few_shot_classifier.FewShotClassifier`, with the same
    results, and either reads the files of classes that the other has saved.

    Args:
        folder: that `repmet export --classifier` wrote.
        modes: representatives of a class at most: 1 is the mean of its images, K the centres of k-means (by scikit-learn),
            None or "all" every image.
        batch_size: images that go through the network together.
        runtime: `onnxruntime`, `openvino`, or `auto`: OpenVINO for its own files, else what is there, ONNX Runtime first.
        threads: at most so many; None: as many as the runtime finds cores.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a file is damaged; no such runtime; modes or batch_size below 1. MissingPackage: it is not installed.
    """

    encoder: ExportedEncoder

    def __init__(
        self,
        folder: str | Path,
        *,
        modes: int | str | None = 1,
        batch_size: int = 8,
        runtime: str = "auto",
        threads: int | None = None,
    ) -> None:
        check_modes(modes)  # before weights are read
        super().__init__(ExportedEncoder(folder, runtime, threads), modes, batch_size)
        self.folder, self.facts, self.runtime = Path(folder), self.encoder.facts, self.encoder.runtime

    def embed(self, images: Any) -> NDArray[np.float32]:
        """Embeddings (n, e) of images, as `data.readers.image_inputs.image_inputs` takes them."""
        return self._embeddings(images)
