"""Cars-196: 16,185 photographs of 196 models of cars; 98 to train on, 98 to retrieve in.

J. Krause, M. Stark, J. Deng, L. Fei-Fei, 2013. It is not downloaded: lay out `cars196/images/<class>/*.jpg`.
"""

from pathlib import Path

from data import image_folder
from data.class_halves import half
from data.labelled_images import LabelledImages
from data.splits import check_size

FOLDER = "cars196/images"
SIZE = (16_185, 196)


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
        check_size(images, SIZE, "Cars-196", place)
    return half(images, split, place, val_share=val_share, val_by=val_by, seed=seed)
