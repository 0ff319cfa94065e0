"""CIFAR-100: 32 x 32 photographs of 100 classes, 500 each to train and 100 to test; their tree is data/classes/trees.

A. Krizhevsky: "Learning multiple layers of features from tiny images", 2009. It has no validation set: one is carved out of
the training set by seed.
"""

from pathlib import Path

import torch
from torchvision.datasets import CIFAR100

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import carve_validation, check_size, check_split
from repmet.data.sources.torchvision_sets import downloaded

SIZES = {"trainval": (50_000, 100), "test": (10_000, 100)}
SPLITS = ("train", "val", "trainval", "test")


def read(root: str | Path, split: str, *, val_per_class: int = 50, seed: int = 0) -> LabelledImages:
    """One split of CIFAR-100; downloaded to `root/cifar-100-python` where it is not there.

    Args:
        root: the folder above `cifar-100-python`.
        split: `train` and `val` are disjoint and make up `trainval`, the 50,000; `test`.
        val_per_class: images of each class in `val`. seed: draws them.

    Returns:
        Images (n, 3, 32, 32).

    Raises:
        ValueError: unknown split, wrong number of images. ConnectionError: it cannot be downloaded.
    """
    check_split(split, SPLITS, "CIFAR-100")
    official = "test" if split == "test" else "trainval"
    published = downloaded(CIFAR100, root, train=official == "trainval")
    pixels = torch.from_numpy(published.data).permute(0, 3, 1, 2).contiguous()
    images = LabelledImages.of_names([published.classes[label] for label in published.targets], images=pixels)
    where = Path(root) / published.base_folder
    check_size(images, SIZES[official], f"CIFAR-100 {official}", where)
    if split == official:
        return images
    train, val = carve_validation(images, val_per_class, [str(i) for i in range(len(images))], seed, where)
    return images.subset(val if split == "val" else train)
