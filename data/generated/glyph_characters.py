"""Generated characters (`data.generated.glyphs`) as a labelled set: as many classes as wanted, and nothing to download."""

from pathlib import Path

import torch

from repmet.data.generated.glyphs import glyph_images
from repmet.data.readers.labelled_images import LabelledImages
from repmet.data.readers.splits import check_split
from repmet.errors import UserError

# Where the class ids of a split begin: the splits share no class, and one's size does not move another's classes.
FIRST = {"train": 0, "val": 100_000, "test": 200_000}


def read(
    root: str | Path | None,
    split: str,
    *,
    characters: int = 100,
    per_class: int = 20,
    size: int = 28,
    seed: int = 0,
) -> LabelledImages:
    """`characters` classes of `per_class` drawings; a function of the arguments alone, nothing is read or written.

    Args:
        root: not used; it is here because every source takes it.
        split: `train`, `val` or `test`; they share no class.
        size: side in pixels. seed: of the alphabet.

    Returns:
        Images (characters * per_class, 1, size, size), paper 0, ink 255; classes `glyph000000`, `glyph000001`...

    Raises:
        ValueError: unknown split, no characters, more of them than a split has, a size below 4.
    """
    check_split(split, tuple(FIRST), "glyph_characters")
    if not 0 < characters <= 100_000:
        raise UserError(f"glyph_characters: a split has 1 to 100000 characters, not {characters}")
    ids = range(FIRST[split], FIRST[split] + characters)
    images, labels = glyph_images(ids, per_class, size, seed)
    classes = tuple(f"glyph{i:06d}" for i in ids)
    return LabelledImages(torch.from_numpy(labels) - ids[0], classes, torch.from_numpy(images)[:, None])
