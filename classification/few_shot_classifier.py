"""A classifier for classes that somebody shows it: learn from images, without any training, predict, keep what was learnt.

classifier = FewShotClassifier().learn({"nut": ["a.jpg", "b.jpg"], "washer": ["c.jpg"]})
for prediction in classifier.predict("photos"):
    print(prediction.name, prediction.probability, prediction.nearest[0].name)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repmet.classification.classifying import ClassifiesImages, check_modes
from repmet.classification.image_encoder import open_encoder


class FewShotClassifier(ClassifiesImages):
    """Classifies images by the representatives of classes that it is shown, as the detector does boxes.

    An image's embedding E is compared with the representatives R_ij of each class i: the class means (Snell et al. 2017,
    eq. 1), all images, or the centres of k-means (RepMet). Its probabilities are the normalised posterior (RepMet, eq. 5):
    `P(i | x) = sum_j exp(-|E - R_ij|^2 / (2 sigma^2)) / sum_kj exp(-|E - R_kj|^2 / (2 sigma^2))`, sigma fitted to support
    images that are held out in turn (`held_out.fitted_sigma`), so that the probabilities are calibrated.

    Args:
        encoder: embeds the images; see `classification.image_encoder.open_encoder`: None for a frozen EfficientNet-Lite0
            with ImageNet weights, a model's name, an encoder's section, or a checkpoint of the classification tree.
        modes: representatives of a class at most: 1 is the mean of its images, K the centres of k-means, None or "all" every
            image.
        size: side in pixels that images are brought to; None: the encoder's own.
        batch_size: images that go through the network together.

    Raises:
        ValueError, FileNotFoundError, ConnectionError, ImportError: `open_encoder`'s; modes or batch_size below 1.
    """

    def __init__(
        self,
        encoder: str | Path | Mapping[str, Any] | None = None,
        *,
        modes: int | str | None = 1,
        size: int | None = None,
        batch_size: int = 8,
    ) -> None:
        check_modes(modes)  # before weights are read
        super().__init__(open_encoder(encoder, size=size), modes, batch_size)

    def embed(self, images: Any) -> Tensor:
        """Embeddings (n, e) of images, as `data.readers.image_inputs.image_inputs` takes them."""
        return torch.from_numpy(self._embeddings(images))
