"""Sets that come in parts: which of train, val and test a name means, and how a set without parts is dealt into two."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

TEST_SHARE = 0.25  # of a set that names no parts
_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}

PART_NAMES = tuple(word for words in _WORDS.values() for word in words)


def part_of(*names: str) -> str | None:
    """The part that the first telling name says: `train` of instances_train2017, `val` of valid; None where none does."""
    for name in names:
        words = re.split(r"[^a-z]+", name.lower())
        parts = [part for part, spellings in _WORDS.items() if any(word in spellings for word in words)]
        if len(parts) == 1:
            return parts[0]
    return None


def folder_part(path: Path, root: Path) -> str | None:
    """The part that the folders between a file and `root` say."""
    return part_of(*reversed(path.relative_to(root).parent.parts))


def roles(parts: Iterable[str | None]) -> dict[str, str]:
    """Which list an experiment's `data` section takes for what, by the parts that are there.

    Of a set in parts supports come from `train` and queries from `test` (or `val`). A set without them gives all its images
    to both: an episode never asks for an image that gives it a support.
    """
    parts = set(parts)
    test = "test" if "test" in parts else "val"
    if {"train", test} <= parts:
        return {"train": "train", "base_test": test, "support": "train", "query": test}
    return {"train": "train", "base_test": "test", "support": "all", "query": "all"}


def chosen(labels: Sequence[str], image_set: str, where: Path, what: str) -> list[int]:
    """The positions of the parts that an image set means: all of them, the one of this label, or the one of this part.

    Raises:
        FileNotFoundError: none is meant, or several are.
    """
    if image_set == "all":
        return list(range(len(labels)))
    wanted = part_of(image_set)
    for means in (
        lambda label: label == image_set,
        lambda label: wanted is not None and part_of(*reversed(label.split("/"))) == wanted,
        lambda label: image_set in label.lower(),
    ):
        positions = [k for k, label in enumerate(labels) if means(label)]
        if len(positions) == 1:
            return positions
        if positions:
            break
    raise FileNotFoundError(f"{where}: {image_set!r} is not one of its {what}: {', '.join(labels)}")


def dealt(image_id: str, image_set: str) -> bool:
    """Whether an image of a set without parts falls to `train` or `test`: by a digest of its id, alike on every machine."""
    share = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") / 2**64
    return (share < TEST_SHARE) == (image_set == "test")
