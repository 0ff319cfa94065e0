"""Splits by seed that every machine agrees on, and the check of published sizes."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from repmet.data.readers.labelled_images import LabelledImages
from repmet.errors import UserError


def seeded_order(names: Sequence[str], seed: int) -> list[int]:
    """A permutation of `names` as their positions, random by `seed`.

    It sorts by a digest of seed and name: the same on every machine, with every library, and whatever order the names come
    in. Names have to differ.
    """
    return sorted(range(len(names)), key=lambda i: sha256(f"{seed}/{names[i]}".encode()).digest())


def split_each_class(
    images: LabelledImages, parts: Mapping[str, int], names: Sequence[str], seed: int, where: str | Path
) -> dict[str, Tensor]:
    """Disjoint parts with so many images of every class, as sorted indices; what is left over is in none.

    Args:
        images: the set. names: of its n images, all different, to draw by (file names, say).
        parts: for instance {"train": 8, "val": 2, "test": 5}. A part's images depend on the numbers of those before it.
        seed: of the draw. where: the place of the set, for messages.

    Raises:
        ValueError: a class has fewer images than all parts together; a negative number.
    """
    if wrong := [name for name, number in parts.items() if number < 0]:
        raise UserError(f"{where}: {parts[wrong[0]]} images a class for {wrong[0]}; a number cannot be negative")
    wanted = sum(parts.values())
    chosen: dict[str, list[int]] = {part: [] for part in parts}
    members: list[list[int]] = [[] for _ in images.classes]
    for i, label in enumerate(images.labels.tolist()):
        members[label].append(i)
    for name, of_class in zip(images.classes, members, strict=True):
        if len(of_class) < wanted:
            listed = ", ".join(f"{part} {number}" for part, number in parts.items())
            raise UserError(f"{where}: class {name!r} has {len(of_class)} images; {wanted} are wanted ({listed})")
        ordered = [of_class[k] for k in seeded_order([names[i] for i in of_class], seed)]
        start = 0
        for part, number in parts.items():
            chosen[part] += ordered[start : start + number]
            start += number
    return {part: torch.tensor(sorted(indices), dtype=torch.int64) for part, indices in chosen.items()}


def check_split(split: str, splits: Sequence[str], source: str) -> None:
    """Raises ValueError for a split that the source does not have; the message names those that it has."""
    if split not in splits:
        raise UserError(f"{source} has no split {split!r}; there are: {', '.join(splits)}")


def check_size(images: LabelledImages, size: tuple[int, int], what: str, where: str | Path) -> None:
    """Raises ValueError where a set has not the published number of images and of classes."""
    counts = (len(images), len(images.classes))
    if counts != size:
        raise UserError(
            f"{where}: {what} has {counts[0]} images of {counts[1]} classes, not {size[0]} of {size[1]}; "
            "delete the folder to lay it out again"
        )


def check_files(paths: Sequence[Path], what: str, where: str | Path) -> None:
    """Raises ValueError where a listed file is missing: a transfer or an unpacking that broke off."""
    if missing := [path for path in paths if not path.is_file()]:
        raise UserError(
            f"{where}: {len(missing)} of the {len(paths)} images of {what} are missing, the first {missing[0].name}; "
            "delete the folder to lay it out again"
        )


def carve_validation(
    images: LabelledImages, per_class: int, names: Sequence[str], seed: int, where: str | Path
) -> tuple[Tensor, Tensor]:
    """The indices of the training images that stay, and of `per_class` images of every class for validation.

    Arguments and errors as for `split_each_class`.
    """
    validation = split_each_class(images, {"validation": per_class}, names, seed, where)["validation"]
    stays = torch.ones(len(images), dtype=torch.bool)
    stays[validation] = False
    return torch.nonzero(stays).flatten(), validation
