"""What took long to compute, kept as files of tensors.

Decoded images lie beside the data; features, embeddings, and images whose folder is not ours, in data/cache of a checkout,
or in the folder that the environment variable REPMET_CACHE names (see `repmet.installation.cache_folder`).
"""

import os
import stat
import warnings
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from repmet.data.files.atomic import write_atomically
from repmet.data.files.torch_file import check_sums
from repmet.installation import cache_folder

CACHE = cache_folder()


def cached(name: str, sources: Sequence[Path], make: Callable[[], Any]) -> Any:
    """What `make()` returns, computed once for these source files and read back after that.

    The file's name holds a digest of the sources' sizes and times, so that other data never meet an old cache. A damaged
    cache is made anew; without a place to write to nothing is kept, with a warning.

    Args:
        name: begin of the file's name; has to change with whatever else `make` depends on.
        sources: the files that `make` reads, all in one folder.
        make: returns tensors and plain values in lists and dictionaries.
    """
    stats = [path.stat() for path in sources]
    facts = [(path.name, file_stat.st_size, file_stat.st_mtime_ns) for path, file_stat in zip(sources, stats, strict=True)]
    file = f"{name}_{sha256(repr(facts).encode()).hexdigest()[:12]}.pt"
    places = [sources[0].parent, CACHE]
    for path in (place / file for place in places):
        if (value := read(path)) is not None:
            return value
    value = make()
    for place in filter(_writable, places):
        try:
            save(value, place / file)
            return value
        except OSError:
            continue
    warnings.warn(f"{places[0]} and {places[1]} cannot be written to: {name} is decoded again each time", stacklevel=2)
    return value


def _writable(folder: Path) -> bool:
    """Whether the folder is there, or can be made, and its owner may write: root may, but a shut folder is left alone."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return os.access(existing, os.W_OK) and bool(existing.stat().st_mode & stat.S_IWUSR)


def read(path: Path) -> Any:
    """What a file keeps; None where there is no such file, or a damaged one, with a warning."""
    if not path.is_file():
        return None
    try:
        check_sums(path)
        return torch.load(path, weights_only=True)
    except Exception as error:  # whatever unpickling a damaged file raises
        warnings.warn(f"{path}: cannot be read ({type(error).__name__}); it is made anew", stacklevel=3)
        return None


def keep(value: Any, path: Path) -> None:
    """As `save`; where it cannot be written, warns and goes on without."""
    try:
        save(value, path)
    except OSError as error:
        warnings.warn(f"{path.parent}: nothing is kept there: {error.strerror}", stacklevel=3)


def save(value: Any, path: Path) -> None:
    """Writes tensors and plain values, whole or not at all. Raises OSError where it cannot."""
    write_atomically(path, lambda file: torch.save(value, file))
