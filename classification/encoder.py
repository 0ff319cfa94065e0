"""What embeds pictures, in torch or without it, and how pictures are brought to its size. Nothing here imports torch."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


class Encoder(Protocol):
    """What embeds pictures.

    Attributes:
        size: (H, W) in pixels. source: what opens it again, plain values. digest: SHA-256 of its weights.
        sigma: standard deviation of the class posterior that it was trained by, where it was.
    """

    size: tuple[int, int]
    source: Any
    sigma: float | None

    @property
    def digest(self) -> str: ...

    def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """A picture in RGB at the network's size, (H, W, C)."""

    def embedded(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embeddings (B, e) of such pictures."""


def fitted_pixels(picture: Image.Image, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """A picture in RGB scaled to cover a size and cropped at the centre, (H, W, C).

    Args:
        size: (H, W) in pixels.
        channels: 3, or 1 for grey.
    """
    fitted = ImageOps.fit(picture, size[::-1], Image.Resampling.BILINEAR)
    return np.array(fitted.convert("L"))[..., None] if channels == 1 else np.array(fitted)
