"""Oxford Flowers-102: 8189 photographs of 102 flowers that grow in Britain; 10 of each to train, 10 to validate.

M.-E. Nilsback, A. Zisserman: "Automated flower classification over a large number of classes", 2008.
"""

from pathlib import Path

from torchvision.datasets import Flowers102

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_files, check_size, check_split
from repmet.data.sources.torchvision_sets import downloaded

SIZES = {"train": (1020, 102), "val": (1020, 102), "test": (6149, 102)}
SPLITS = ("train", "val", "trainval", "test")


def read(root: str | Path, split: str) -> LabelledImages:
    """One split of Flowers-102, as files; downloaded to `root/flowers-102` where it is not there.

    `trainval` is the official training and validation images together. Raises ValueError for an unknown split, missing
    files or a wrong number of images; ConnectionError where it cannot be downloaded.
    """
    check_split(split, SPLITS, "Flowers-102")
    folder = Path(root) / "flowers-102"
    paths, names = [], []
    for part in ("train", "val") if split == "trainval" else (split,):
        published = downloaded(Flowers102, root, split=part)
        of_part = [published.classes[label] for label in published._labels]
        check_files(published._image_files, f"Flowers-102 {part}", folder)
        check_size(
            LabelledImages.of_names(of_part, paths=published._image_files), SIZES[part], f"Flowers-102 {part}", folder
        )
        paths += published._image_files
        names += of_part
    return LabelledImages.of_names(names, paths=paths)
