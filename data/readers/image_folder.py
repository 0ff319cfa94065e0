"""Any folder of class folders, one image a file, split by seed (within each class, or class from class) or by a list.

root/daisy/001.jpg  root/daisy/b.png  root/tulip/001.jpg ...
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from repmet.data.files.pictures import IMAGE_SUFFIXES
from repmet.data.files.text import read_text
from repmet.data.files.walk import images_in
from repmet.data.readers.class_folders import class_folders
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_split, seeded_order, split_each_class
from repmet.errors import UserError


def read(
    root: str | Path,
    split: str = "all",
    *,
    images_per_class: Mapping[str, int] | None = None,
    val_per_class: int = 0,
    classes_per_split: Mapping[str, int | Sequence[str]] | None = None,
    split_file: str | None = None,
    seed: int = 0,
) -> LabelledImages:
    """One split of a folder of class folders, as files. Without a way to split there is one split, `all`.

    Args:
        root: the folder. Hidden files are passed over, and with one message files of other kinds.
        split: `all`; or `train`, `val`, `test`, and `trainval`, which is `train` and `val` together.
        images_per_class: {train: 10, test: 5} draws so many images of every class; the rest is in no split.
        val_per_class: of the images that `images_per_class` gives to training, so many are `val` and not `train`.
        classes_per_split: {train: 64, val: 16, test: 20} gives whole classes to a split, drawn or (a list) named.
        split_file: a CSV file with the columns image (a file's name), class and split; its path, or that from `root`. Images
            that it does not name are in no split.
        seed: of all draws. The test images of a seed do not depend on the numbers of the others.

    Raises:
        FileNotFoundError: no such folder. ValueError: no class folder, one without an image, a class with too few images,
            too few classes, a class that is not there or in two splits, an unknown split.
    """
    everything = _scan(Path(root))
    if sum(way is not None for way in (images_per_class, classes_per_split, split_file)) > 1:
        raise UserError(f"{root}: a split is by images_per_class, classes_per_split or split_file, by one of them")
    if split == "all":
        return everything
    if images_per_class is not None:
        parts = _by_image(everything, dict(images_per_class), val_per_class, seed, root)
    elif classes_per_split is not None:
        parts = _by_class(everything, dict(classes_per_split), seed, root)
    elif split_file is not None:
        parts = _by_list(everything, Path(root) / split_file)
    else:
        raise UserError(
            f"{root}: split {split!r} needs images_per_class, classes_per_split or split_file; without them there is `all`"
        )
    wanted = ("train", "val") if split == "trainval" else (split,)
    check_split(split, [*parts, *(["trainval"] if {"train", "val"} <= parts.keys() else []), "all"], str(root))
    chosen = torch.cat([parts[part] for part in wanted]).sort().values
    images = everything.subset(chosen)
    return (
        images if classes_per_split is None else images.of_classes([everything.classes[c] for c in images.labels.unique()])
    )


def _scan(root: Path) -> LabelledImages:
    """Every image of every class folder, sorted by class and file name."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; it should hold one folder of images a class")
    paths: list[Path] = []
    names: list[str] = []
    for name, folder in class_folders(root).items():
        images = images_in(folder)
        if not images:
            raise UserError(
                f"{folder}: the class folder holds no image ({', '.join(IMAGE_SUFFIXES)}); fill it or take it away"
            )
        paths += images
        names += [name] * len(images)
    if not paths:
        raise UserError(f"{root}: holds no class folders; it should hold one folder of images a class")
    return LabelledImages.of_names(names, paths=paths)


def _by_image(
    images: LabelledImages, numbers: dict[str, int], val: int, seed: int, root: str | Path
) -> dict[str, torch.Tensor]:
    if unknown := numbers.keys() - {"train", "test"}:
        raise UserError(f"{root}: images_per_class takes train and test, not {', '.join(sorted(unknown))}")
    train = numbers.get("train", 0)
    if not 0 <= val < max(train, 1):
        raise UserError(f"{root}: val_per_class={val} of {train} training images a class leaves none to train on")
    # Test is drawn first, so that it stays the same whatever is held out for validation.
    parts = {"test": numbers.get("test", 0), "val": val, "train": train - val}
    parts = {part: number for part, number in parts.items() if number}
    return split_each_class(images, parts, [f"{p.parent.name}/{p.name}" for p in images.paths], seed, root)


def _by_list(images: LabelledImages, file: Path) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such list of splits")
    table = csv.DictReader(read_text(file).splitlines())
    if not {"image", "class", "split"} <= set(table.fieldnames or ()):
        raise UserError(f"{file}: its first line has to name the columns image, class and split, not {table.fieldnames}")
    places = {f"{path.parent.name}/{path.name}": i for i, path in enumerate(images.paths or ())}
    parts: dict[str, list[int]] = {}
    for row in table:
        name = f"{row['class']}/{row['image']}"
        if name not in places:
            raise UserError(f"{file}: names {name}, which is not there, or there twice in the list")
        parts.setdefault(row["split"], []).append(places.pop(name))
    return {part: torch.tensor(sorted(indices)) for part, indices in parts.items()}


def _by_class(
    images: LabelledImages, numbers: dict[str, int | Sequence[str]], seed: int, root: str | Path
) -> dict[str, torch.Tensor]:
    if unknown := numbers.keys() - {"train", "val", "test"}:
        raise UserError(f"{root}: classes_per_split takes train, val and test, not {', '.join(sorted(unknown))}")
    named = [name for part in numbers.values() if not isinstance(part, int) for name in part]
    images.of_classes(named)  # raises for a class that is not there, or named twice
    free = [images.classes[i] for i in seeded_order(images.classes, seed) if images.classes[i] not in named]
    drawn = sum(part for part in numbers.values() if isinstance(part, int))
    if drawn > len(free):
        raise UserError(f"{root}: has {len(free)} classes to draw from; classes_per_split wants {drawn}")
    parts = {}
    for part in ("test", "val", "train"):
        if part not in numbers:
            continue
        number = numbers[part]
        names, free = (free[:number], free[number:]) if isinstance(number, int) else (number, free)
        ids = torch.tensor([images.classes.index(name) for name in names], dtype=torch.int64)
        parts[part] = torch.nonzero(torch.isin(images.labels, ids)).flatten()
    return parts
