"""The images that a command is to look at: each file once, and of those for other tools the ones whose names are text."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from repmet.data.readers.class_name import name_problem
from repmet.data.readers.image_inputs import ImageInput
from repmet.wording import on_a_line


def each_once(images: Iterable[ImageInput]) -> list[ImageInput]:
    """The images in their order without those that come again, under the file's own name where a link leads to it."""
    kept: dict[Any, ImageInput] = {}
    again: list[ImageInput] = []
    for image in images:
        key = _real(image.path) if image.path else image.name
        first = kept.setdefault(key, image)
        if first is not image:
            linked = first.path is not None and first.path.is_symlink()
            kept[key], twice = (image, first) if linked else (first, image)
            again.append(twice)
    if again:
        more = f" and {len(again) - 1} more" if len(again) > 1 else ""
        print(f"looked at once only: {on_a_line(again[0].name)}{more}, the same file as another one", file=sys.stderr)
    return list(kept.values())


_IN_XML = str.maketrans("\t\n\r", "   ")  # the control characters that a file of annotations can hold


def with_text_names(images: Iterable[ImageInput]) -> tuple[list[ImageInput], list[str]]:
    """The images whose names are text, which a file of annotations can hold; and a line about each of the others."""
    kept: list[ImageInput] = []
    problems: list[str] = []
    for image in images:
        name = str(image.path or image.name)
        if problem := name_problem(name.translate(_IN_XML)):
            problems.append(f"{name!r} {problem}")
        else:
            kept.append(image)
    return kept, problems


def _real(path: Path) -> Path:
    """The file that a path leads to; of a link that leads to itself, the link."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()
