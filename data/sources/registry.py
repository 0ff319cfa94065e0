"""The sources of labelled images by name: `read(source, root, split)` imports the module that is asked for, no other."""

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repmet.data.readers.labelled_images import LabelledImages
from repmet.errors import UserError, did_you_mean

_PUBLISHED = (
    "cars196", "cifar100", "cifar_fs", "cub200", "digits", "dogs", "flowers102", "mini_imagenet", "mnist", "omniglot",
    "omniglot_characters", "online_products", "pets",
)  # fmt: skip
_MODULES = {name: f"repmet.data.sources.{name}" for name in _PUBLISHED} | {
    "glyph_characters": "repmet.data.generated.glyph_characters",
    "image_folder": "repmet.data.readers.image_folder",
}
SOURCES = tuple(sorted(_MODULES))

WITHOUT_ROOT = ("digits", "glyph_characters")  # nothing of theirs lies in a folder


def read(
    source: str, root: str | Path | None, split: str, *, only: Sequence[str] | None = None, **arguments: Any
) -> LabelledImages:
    """The labelled images of one split of a source.

    Args:
        source: one of `SOURCES`.
        root: the folder where its data lie, or are put; sources that generate their images need none.
        split: as the source names its splits.
        only: class names; where given, the images of these classes alone.
        arguments: of the source's own `read`.

    Raises:
        ValueError: a source, or an argument of it, that is not known, with the nearest name; no root; unknown split or
            class.
    """
    if source not in SOURCES:
        raise UserError(f"no source of images {source!r}; {did_you_mean(str(source), SOURCES)}")
    reader = importlib.import_module(_MODULES[source]).read
    known = list(inspect.signature(reader).parameters)[2:]
    for name in arguments:
        if name not in known:
            raise UserError(f"source {source} takes no argument {name!r}; {did_you_mean(name, [*known, 'only'])}")
    if root is None and source not in WITHOUT_ROOT:
        raise UserError(f"source {source} needs `root`, the folder where its data lie or are to be put")
    images = reader(root, split, **arguments)
    return images if only is None else images.of_classes(only)
