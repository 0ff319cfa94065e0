"""mini-ImageNet: 100 classes of ImageNet, 600 images each, in a local folder with Ravi and Larochelle's lists.

O. Vinyals et al. ("Matching Networks for One Shot Learning", 2016) chose the classes; S. Ravi and H. Larochelle
("Optimization as a model for few-shot learning", 2017) split them 64 / 16 / 20. ImageNet's terms forbid to hand it on, so
nothing is downloaded: `root` holds `images/*.jpg` and train.csv, val.csv, test.csv with the columns `filename,label`.
"""

import csv
from pathlib import Path

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_files, check_size, check_split
from repmet.errors import UserError

SIZES = {"train": (38_400, 64), "val": (9_600, 16), "test": (12_000, 20)}


def read(root: str | Path, split: str) -> LabelledImages:
    """One split of mini-ImageNet, `train`, `val` or `test`, as files; the splits share no class.

    Raises ValueError for an unknown split, a list without the two columns, missing files or a wrong number of images;
    FileNotFoundError where the list is not there.
    """
    check_split(split, tuple(SIZES), "mini-ImageNet")
    root = Path(root)
    path = root / f"{split}.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; mini-ImageNet is a folder with images/ and train.csv, val.csv, test.csv"
        )
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if not {"filename", "label"} <= set(table.fieldnames or ()):
            raise UserError(f"{path}: its first line has to name the columns filename and label, not {table.fieldnames}")
        rows = [(root / "images" / row["filename"], row["label"]) for row in table]
    paths, names = [row[0] for row in rows], [row[1] for row in rows]
    check_files(paths, f"mini-ImageNet {split}", root)
    images = LabelledImages.of_names(names, paths=paths)
    check_size(images, SIZES[split], f"mini-ImageNet {split}", root)
    return images
