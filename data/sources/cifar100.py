"""CIFAR-100: 32 x 32 photographs of 100 classes, 500 each to train and 100 to test; their tree is data/classes/trees.

A. Krizhevsky: "Learning multiple layers of features from tiny images", 2009. It has no validation set: one is carved out of
the training set by seed. Two layouts are read: torchvision's, which is downloaded, and the pictures in class folders,
train/<class>/*.png and test/<class>/*.png, which are decoded once into one array.
"""

from pathlib import Path

import torch
from torchvision.datasets import CIFAR100

from repmet.data.files.decoding import decode_all
from repmet.data.files.tensor_cache import cached
from repmet.data.files.walk import images_in
from repmet.data.readers.class_folders import class_folders
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import carve_validation, check_size, check_split
from repmet.data.sources.torchvision_sets import downloaded
from repmet.errors import UserError

SIZES = {"trainval": (50_000, 100), "test": (10_000, 100)}
SPLITS = ("train", "val", "trainval", "test")
SIDE = 32  # pixels
_FOLDERS = {"trainval": "train", "test": "test"}


def read(root: str | Path, split: str, *, val_per_class: int = 50, seed: int = 0) -> LabelledImages:
    """One split of CIFAR-100; downloaded to `root/cifar-100-python` where it is not there in either layout.

    Args:
        root: the folder above `cifar-100-python`, or above the folders `train` and `test`.
        split: `train` and `val` are disjoint and make up `trainval`, the 50,000; `test`.
        val_per_class: images of each class in `val`. seed: draws them, other images in the one layout than in the other.

    Returns:
        Images (n, 3, 32, 32).

    Raises:
        ValueError: unknown split, wrong number of images of the set or of a class, an unreadable image. ConnectionError: it
            cannot be downloaded.
    """
    check_split(split, SPLITS, "CIFAR-100")
    official = "test" if split == "test" else "trainval"
    images, names = published(root, official)
    if split == official:
        return images
    train, val = carve_validation(images, val_per_class, names, seed, root)
    return images.subset(val if split == "val" else train)


def published(root: str | Path, part: str) -> tuple[LabelledImages, list[str]]:
    """The 50,000 images of `trainval` or the 10,000 of `test`, and a name of each that is its own; errors as `read`."""
    root = Path(root)
    if (root / _FOLDERS[part]).is_dir():
        images, names, where = _of_folders(root, part)
    else:
        pickled = downloaded(CIFAR100, root, train=part == "trainval")
        pixels = torch.from_numpy(pickled.data).permute(0, 3, 1, 2).contiguous()
        images = LabelledImages.of_names([pickled.classes[label] for label in pickled.targets], images=pixels)
        names, where = [str(i) for i in range(len(images))], root / pickled.base_folder
    check_size(images, SIZES[part], f"CIFAR-100 {part}", where)
    each = SIZES[part][0] // SIZES[part][1]
    if uneven := torch.nonzero(images.counts != each).flatten().tolist():
        name, count = images.classes[uneven[0]], int(images.counts[uneven[0]])
        raise UserError(f"{where}: CIFAR-100 {part}: class {name!r} has {count} images, not {each}")
    return images, names


def _of_folders(root: Path, part: str) -> tuple[LabelledImages, list[str], Path]:
    """Class by class, the files of each by name."""
    where = root / _FOLDERS[part]
    paths = [path for folder in class_folders(where).values() for path in images_in(folder)]
    sources = [where, *paths]  # the first says beside what the array is kept
    pixels = cached(f"cifar100_{part}", sources, lambda: decode_all(paths, (SIDE, SIDE)))
    images = LabelledImages.of_names([path.parent.name for path in paths], images=pixels)
    return images, [f"{path.parent.name}/{path.name}" for path in paths], where
