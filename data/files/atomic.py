"""Files that are there whole or not at all, whatever kills the process."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: str | Path, write: Callable[[BinaryIO], None]) -> None:
    """Writes beside `path`, flushes to the disk, renames: who reads sees the old file or the new one."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY)  # the rename itself must reach the disk as well
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: str | Path, text: str) -> None:
    """Writes a small file atomically, in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()) and None)
