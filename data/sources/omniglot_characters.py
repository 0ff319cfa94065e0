"""Omniglot's characters as classes to be learnt: some drawings of each to train on, others to test on.

Not the few-shot task of `omniglot`, whose splits share no class, but the ordinary one: nearly a thousand classes of few
images, for methods that hold something of every class.
"""

from pathlib import Path

import torch

from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_split, seeded_order, split_each_class
from repmet.data.sources import omniglot
from repmet.errors import UserError

SPLITS = ("train", "val", "trainval", "test")


def read(
    root: str | Path,
    split: str,
    *,
    part: str = "background",
    characters: int | None = None,
    train_per_class: int = 12,
    val_per_class: int = 3,
    test_per_class: int = 5,
    size: int = 28,
    seed: int = 0,
) -> LabelledImages:
    """So many of each character's 20 drawings, by seed; `trainval` is `train` and `val` together.

    Args:
        root, size: as for `omniglot.read`.
        split: `train`, `val`, `trainval` or `test`, which are disjoint.
        part: `background` (964 characters) or `evaluation` (659).
        characters: so many of them, drawn by seed; None: all.

    Returns:
        Images (n, 1, size, size), ink 0, paper 255, classes `Alphabet/characterNN`.

    Raises:
        ValueError: unknown split or part, more characters or drawings than there are, and what `omniglot.read` raises.
    """
    check_split(split, SPLITS, "omniglot_characters")
    if part not in omniglot.CHARACTERS:
        raise UserError(f"omniglot_characters: part is {' or '.join(omniglot.CHARACTERS)}, not {part!r}")
    everything = omniglot.read(root, part, size=size)
    if characters is not None:
        if not 0 < characters <= len(everything.classes):
            raise UserError(f"Omniglot's {part} part has {len(everything.classes)} characters, not {characters}")
        drawn = seeded_order(everything.classes, seed)[:characters]
        everything = everything.of_classes([everything.classes[i] for i in drawn])
    names = [f"{everything.classes[label]}/{i % omniglot.DRAWINGS:02d}" for i, label in enumerate(everything.labels)]
    numbers = {"test": test_per_class, "val": val_per_class, "train": train_per_class}
    parts = split_each_class(everything, numbers, names, seed, f"Omniglot's {part} part")
    wanted = ("train", "val") if split == "trainval" else (split,)
    return everything.subset(torch.cat([parts[name] for name in wanted]).sort().values)
