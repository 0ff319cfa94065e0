"""Oxford-IIIT Pet: photographs of 37 breeds of cats and dogs, about 200 each.

O. Parkhi, A. Vedaldi, A. Zisserman, C. Jawahar: "Cats and dogs", CVPR 2012. It has no validation set: one is carved out of
the training images by seed.
"""

from pathlib import Path

from torchvision.datasets import OxfordIIITPet

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import carve_validation, check_files, check_size, check_split
from repmet.data.sources.torchvision_sets import downloaded

SIZES = {"trainval": (3680, 37), "test": (3669, 37)}
SPLITS = ("train", "val", "trainval", "test")


def read(root: str | Path, split: str, *, val_per_class: int = 20, seed: int = 0) -> LabelledImages:
    """One split of Oxford-IIIT Pet, as files; downloaded to `root/oxford-iiit-pet` where it is not there.

    Args:
        root: the folder above `oxford-iiit-pet`.
        split: `train` and `val` are disjoint and make up `trainval`, the official training images; `test`.
        val_per_class: images of each breed in `val`. seed: draws them.

    Raises:
        ValueError: unknown split, missing files, wrong number of images. ConnectionError: it cannot be downloaded.
    """
    check_split(split, SPLITS, "Oxford-IIIT Pet")
    folder = Path(root) / "oxford-iiit-pet"
    official = "test" if split == "test" else "trainval"
    published = downloaded(OxfordIIITPet, root, split=official)
    check_files(published._images, f"Oxford-IIIT Pet {official}", folder)
    images = LabelledImages.of_names([published.classes[label] for label in published._labels], paths=published._images)
    check_size(images, SIZES[official], f"Oxford-IIIT Pet {official}", folder)
    if split == official:
        return images
    train, val = carve_validation(images, val_per_class, [path.name for path in images.paths], seed, folder)
    return images.subset(val if split == "val" else train)
