"""Caltech-UCSD Birds 200-2011: 11,788 photographs of 200 species; 100 to train on, 100 to retrieve in.

C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie, 2011. It is not downloaded: lay out `cub200/images/<class>/*.jpg`.
"""

from pathlib import Path

from data import image_folder
from data.class_halves import half
from data.labelled_images import LabelledImages
from data.splits import check_size

FOLDER = "cub200/images"
SIZE = (11_788, 200)


def read(
    root: str | Path, split: str, *, folder: str = FOLDER, val_share: float = 0.0, val_by: str = "class", seed: int = 0
) -> LabelledImages:
    """One split, as files: `trainval` and `test` by `class_halves.half`, `train` and `val` of the first.

    Args:
        root: the folder above `folder`.
        folder: of the class folders; another than the usual one may hold any number of images, as a subset does.
        val_share, val_by, seed: see `class_halves.carve`.

    Raises:
        FileNotFoundError: no such folder. ValueError: a wrong number of images or classes, and what `half` refuses.
    """
    place = Path(root) / folder
    images = image_folder.read(place)
    if folder == FOLDER:
        check_size(images, SIZE, "CUB-200-2011", place)
    return half(images, split, place, val_share=val_share, val_by=val_by, seed=seed)
