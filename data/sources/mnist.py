"""MNIST: 28 x 28 handwritten digits, 60,000 to train and 10,000 to test, of ten classes.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: "Gradient-based learning applied to document recognition", 1998. It has no
validation set: one is carved out of the training set by seed.
"""

from pathlib import Path

from torchvision.datasets import MNIST

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import carve_validation, check_size, check_split
from repmet.data.sources.torchvision_sets import downloaded

SIZES = {"trainval": (60_000, 10), "test": (10_000, 10)}
SPLITS = ("train", "val", "trainval", "test")


def read(root: str | Path, split: str, *, val_per_class: int = 500, seed: int = 0) -> LabelledImages:
    """One split of MNIST; downloaded to `root/MNIST` where it is not there.

    Args:
        root: the folder above `MNIST/raw`.
        split: `train` and `val` are disjoint and make up `trainval`, the 60,000; `test`.
        val_per_class: images of each digit in `val`. seed: draws them.

    Returns:
        Images (n, 1, 28, 28), paper 0, ink 255.

    Raises:
        ValueError: unknown split, wrong number of images. ConnectionError: it cannot be downloaded.
    """
    check_split(split, SPLITS, "MNIST")
    official = "test" if split == "test" else "trainval"
    published = downloaded(MNIST, root, train=official == "trainval")
    images = LabelledImages.of_names([str(digit) for digit in published.targets.tolist()], images=published.data[:, None])
    check_size(images, SIZES[official], f"MNIST {official}", published.raw_folder)
    if split == official:
        return images
    train, val = carve_validation(images, val_per_class, [str(i) for i in range(len(images))], seed, published.raw_folder)
    return images.subset(val if split == "val" else train)
