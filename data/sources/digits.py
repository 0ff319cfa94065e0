"""scikit-learn's digits: 1797 handwritten digits of 8 x 8 pixels, real images that need no download.

The test part of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998); it is split by seed.
"""

from pathlib import Path

import torch

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_split, split_each_class

SPLITS = ("train", "val", "trainval", "test")


def read(
    root: str | Path | None,
    split: str,
    *,
    train_per_class: int = 100,
    val_per_class: int = 20,
    test_per_class: int = 50,
    seed: int = 0,
) -> LabelledImages:
    """So many images of each digit, by seed; `trainval` is `train` and `val` together.

    Args:
        root: not used; it is here because every source takes it.
        split: `train`, `val`, `trainval` or `test`, which are disjoint.

    Returns:
        Images (n, 1, 8, 8), paper 0, ink 255 (16 levels in the source).

    Raises:
        ValueError: unknown split; more images of a digit than there are (174 of the rarest).
    """
    from sklearn.datasets import load_digits

    check_split(split, SPLITS, "digits")
    bunch = load_digits()
    images = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)[:, None]
    everything = LabelledImages.of_names([str(digit) for digit in bunch.target], images=images)
    numbers = {"test": test_per_class, "val": val_per_class, "train": train_per_class}
    parts = split_each_class(everything, numbers, [str(i) for i in range(len(images))], seed, "digits")
    wanted = ("train", "val") if split == "trainval" else (split,)
    return everything.subset(torch.cat([parts[part] for part in wanted]).sort().values)
