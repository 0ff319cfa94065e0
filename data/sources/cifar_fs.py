"""CIFAR-FS: the classes of CIFAR-100 as a few-shot benchmark, 64 to train, 16 to validate and 20 to test, 600 images each.

L. Bertinetto, J. Henriques, P. Torr, A. Vedaldi: "Meta-learning with differentiable closed-form solvers", ICLR 2019. The
classes of each part are those of torchmeta (data/classes/cifar_fs_*.txt). Training and test images of CIFAR-100 go together.
"""

from pathlib import Path

import torch

from repmet.data.files.text import read_text
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_size, check_split
from repmet.data.sources import cifar100

SIZES = {"train": (38_400, 64), "val": (9_600, 16), "test": (12_000, 20)}
_LISTS = Path(__file__).parents[1] / "classes"


def read(root: str | Path, split: str) -> LabelledImages:
    """One part of CIFAR-FS, `train`, `val` or `test`; no class is in two of them.

    Args:
        root: of CIFAR-100 in either of its layouts, see `cifar100.read`.

    Returns:
        Images (n, 3, 32, 32).

    Raises:
        ValueError, ConnectionError: as `cifar100.read`.
    """
    check_split(split, tuple(SIZES), "CIFAR-FS")
    parts = [cifar100.published(root, part)[0] for part in ("trainval", "test")]
    names = [part.classes[label] for part in parts for label in part.labels.tolist()]
    pixels = torch.cat([part.images for part in parts if part.images is not None])
    images = LabelledImages.of_names(names, images=pixels).of_classes(classes_of(split))
    check_size(images, SIZES[split], f"CIFAR-FS {split}", root)
    return images


def classes_of(split: str) -> list[str]:
    """The names of the classes of a part."""
    return read_text(_LISTS / f"cifar_fs_{split}.txt").split()
