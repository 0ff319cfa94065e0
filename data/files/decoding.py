"""Image files to uint8 tensors of one size."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from repmet.data.files.pictures import open_rgb


def decode(path: str | Path, size: tuple[int, int]) -> Tensor:
    """One image as (3, H, W) uint8 RGB: scaled (with antialiasing) to cover `size` (H, W), then cropped at the centre.

    Raises UnreadableImage (a ValueError) as `open_rgb`.
    """
    image = ImageOps.fit(open_rgb(path, least=size[::-1]), size[::-1], Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def decode_batch(paths: Sequence[str | Path], size: tuple[int, int]) -> Tensor:
    """Images of one size, (n, 3, H, W) uint8. Raises ValueError as `decode`."""
    return torch.stack([decode(path, size) for path in paths])


def decode_all(paths: Sequence[str | Path], size: tuple[int, int]) -> Tensor:
    """As `decode_batch` for many files, by several threads."""
    images = torch.empty(len(paths), 3, *size, dtype=torch.uint8)

    def fill(i: int) -> None:
        images[i] = decode(paths[i], size)

    _by_threads(fill, range(len(paths)))
    return images


def check_all(paths: Sequence[str | Path]) -> None:
    """Reads every file to its end, at the least size that it decodes to. Raises ValueError as `decode`."""
    _by_threads(lambda path: decode(path, (1, 1)), paths)


def _by_threads(function: Callable[[Any], object], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        for _ in pool.map(function, items):
            pass


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (n, C, h, w) uint8 scaled to cover `size` (H, W) and cropped at the centre, (n, C, H, W) uint8."""
    if tuple(images.shape[-2:]) == size:
        return images
    factor = max(size[0] / images.shape[-2], size[1] / images.shape[-1])
    covering = [max(side, round(factor * old)) for side, old in zip(size, images.shape[-2:], strict=True)]
    return tv.center_crop(tv.resize(images, covering, antialias=True), list(size))
