"""Images read to their end, before a training begins: a file's head and end tell nothing of damage between them."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from repmet.data.files import tensor_cache
from repmet.data.files.atomic import write_text
from repmet.data.files.pictures import UnreadableImage, open_rgb


def damaged(paths: Iterable[Path]) -> list[str]:
    """A sentence for each file that cannot be decoded to its end, in their order. About a millisecond a photograph.

    Files that were found whole are not read again as long as none of them changes: a note of that lies in the cache.
    """
    paths = list(dict.fromkeys(paths))
    note = tensor_cache.CACHE / "read_to_their_end" / _digest(paths)
    if note.is_file():
        return []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        problems = [problem for problem in pool.map(_problem, paths) if problem]
    if not problems:
        write_text(note, f"{len(paths)} images\n")
    return problems


def _problem(path: Path) -> str | None:
    try:
        open_rgb(path, least=(1, 1))
    except UnreadableImage as error:
        return str(error)
    return None


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            state = path.stat()
            digest.update(repr((str(path.resolve()), state.st_size, state.st_mtime_ns)).encode("utf-8", "surrogateescape"))
        except OSError:
            digest.update(os.urandom(8))  # what is gone is never known to be whole
    return digest.hexdigest()[:24]
