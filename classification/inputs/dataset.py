"""A labelled set of images as a data set for mmengine: a batch is one gather from memory, then one batch transform."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import DATASETS, FUNCTIONS
from torch import Tensor

from repmet.classification.inputs.transforms import build_transform
from repmet.data.files.decoding import check_all, decode_all, decode_batch, resize
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.sources.registry import read
from repmet.errors import UserError
from repmet.wording import counted

# Sets of more bytes than this are decoded batch by batch, not held in memory.
MEMORY = 2 << 30


@DATASETS.register_module()
class ImageSet:
    """The images of one split of a source.

    Images that lie in files are decoded when the set is built and held as one uint8 tensor: none is decoded twice. A set of
    more than `MEMORY` bytes is decoded batch by batch. An unreadable file is found here in either case, before the training.

    Args:
        source: name of a module of `data` (see `data.sources.registry.SOURCES`), or a `LabelledImages`.
        root: the folder of the data.
        split: as the source names its splits.
        arguments: further arguments of the source's `read`.
        transform: batch transforms, a list of {type: ...} (see `classification.inputs.transforms`).
        size: side in pixels, or (H, W), that images are brought to when the set is built: scaled to cover it, then cropped
            at the centre. Needed where the images lie in files.

    Attributes:
        labels: (n,) int64. classes: the N names. images: (n, C, H, W) uint8, or None where the set is too large.

    Raises:
        ValueError: unknown source or split, no image, an unreadable image, no `size` for images in files.
    """

    def __init__(
        self,
        source: str | LabelledImages,
        root: str | None = None,
        split: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        transform: Sequence[Mapping[str, Any]] | None = None,
        size: int | Sequence[int] | None = None,
    ) -> None:
        name = f"{source} {split}" if isinstance(source, str) else "the given images"
        labelled = read(source, root, split, **(arguments or {})) if isinstance(source, str) else source
        if not len(labelled):
            raise UserError(f"{name}: no image in {root}")
        self.labels, self.classes, self.paths = labelled.labels, labelled.classes, labelled.paths
        self.transform = build_transform(transform or [])
        self.size = None if size is None else (size, size) if isinstance(size, int) else tuple(size)
        if labelled.images is not None:
            self.images = labelled.images if self.size is None else resize(labelled.images, self.size)
        elif self.size is None:
            raise UserError(f"{name}: its images lie in files of any shape; say to which `size` they are to be brought")
        elif len(labelled) * 3 * self.size[0] * self.size[1] <= MEMORY:
            self.images = decode_all(labelled.paths, self.size)
        else:
            check_all(labelled.paths)
            self.images = None

    def __len__(self) -> int:
        return len(self.labels)

    def summary(self) -> str:
        """What is trained on, in one line."""
        return f"{counted(len(self), 'image')} of {counted(len(self.classes), 'class')}"

    def digest(self) -> str:
        """SHA-256 of the images, in their order: of their pixels, or of the files of a set too large for the memory."""
        digest = hashlib.sha256(repr(self.size).encode())
        if self.images is not None:
            digest.update(self.images.numpy())
        else:
            digest.update(repr([(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in self.paths]).encode())
        return digest.hexdigest()

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The batch of these images: inputs (B, C, H, W) float32 or uint8, labels (B,), indices (B,)."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        if self.images is not None:
            inputs = self.images[chosen]
        else:
            inputs = decode_batch([self.paths[i] for i in chosen.tolist()], self.size)
        return {"inputs": self.transform(inputs), "labels": self.labels[chosen], "indices": chosen}

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One image: inputs (C, H, W), label and index as tensors without dimensions."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return {name: value[0] for name, value in self.__getitems__([index % len(self)]).items()}


@FUNCTIONS.register_module()
def as_gathered(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The collate function of an `ImageSet`, whose batches come whole: it passes them on."""
    return batch
