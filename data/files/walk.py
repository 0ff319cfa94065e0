"""The files below a folder: sorted, hidden ones passed over, linked folders followed once."""

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(root: str | Path) -> Iterator[Path]:
    """Every file below a folder, a folder's own before those of its sub-folders, both in the order of their names.

    Hidden files and folders (a leading dot, or `__MACOSX`) are passed over. A link to a folder is followed; a folder that
    can be reached by two ways is looked into once.
    """
    yield from _below(Path(root), set())


def _below(folder: Path, seen: set[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    entries = sorted((p for p in folder.iterdir() if not is_hidden(p)), key=lambda p: p.name)
    yield from (p for p in entries if p.is_file())
    for entry in entries:
        if entry.is_dir():
            yield from _below(entry, seen)


def is_hidden(path: Path) -> bool:
    """Whether viewers and people pass a name over."""
    return path.name.startswith(".") or path.name == "__MACOSX"
