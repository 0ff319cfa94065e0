"""Files that are there whole or not at all, whatever kills the process or fills the disk."""

import contextlib
import errno
import io
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

LEFT_BEHIND = 3600.0  # seconds after which an unfinished file is that of a killed process
COPIED_AT_ONCE = 1 << 20  # bytes


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes beside `path`, flushes to the disk, renames: who reads sees the old file or the new one.

    The folder is made. Several threads, processes and machines may write the same file: the last one's stays, whole. What
    was begun is taken away when writing fails.

    Raises:
        OSError: no room, a read-only folder, a file in the way; it names `path`, also where torch hides it. That of another
            file which `write` reads names that one.
    """
    path = check_regular(path)
    folder = make_folder(path.parent)
    part = folder / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        with naming(path, part):
            with open(part, "xb", buffering=0) as raw, _PythonFile(raw) as file:
                write(file)
                file.flush()
                os.fsync(raw.fileno())
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # some network file systems do not flush folders
        opened = os.open(folder, os.O_RDONLY)  # the rename itself must reach the disk as well
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def check_regular(path: str | Path) -> Path:
    """Whether a file may be put here. Raises OSError for a folder, and for a device, whose place it would take."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is a device or a pipe; name a file", str(path))
    return path


def write_text(path: str | Path, text: str) -> None:
    """Writes a small file atomically, in UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def copy_file(source: str | Path, path: str | Path) -> None:
    """Copies a file's content atomically."""
    with open(source, "rb") as read:
        write_atomically(path, lambda file: shutil.copyfileobj(read, file, COPIED_AT_ONCE))


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def make_folder(folder: str | Path) -> Path:
    """Makes a folder and those above it. Raises OSError, also where a file is in the way."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        there = next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), folder)
        raise NotADirectoryError(errno.ENOTDIR, "is a file; a folder is needed there", str(there)) from None
    return folder


def check_folder(folder: str | Path, room: int = 0) -> Path:
    """Whether a folder can be made and written to: a command asks before it spends time. What was made is taken away again.

    What killed processes left unfinished there is taken away too.

    Args:
        room: bytes that will be needed there.

    Raises:
        OSError: the folder cannot be made or written to, or has less room.
    """
    folder = Path(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    make_folder(folder)
    tried = folder / f".{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        with naming(folder, tried):
            tried.write_bytes(bytes(512))
            tried.unlink()
        for part in folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > LEFT_BEHIND:
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
        state = os.statvfs(folder) if hasattr(os, "statvfs") else None
        if state is not None and (free := state.f_bavail * state.f_frsize) < room:
            needed = (
                f"the disk is full: {room / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB free; make room and run it again"
            )
            raise OSError(errno.ENOSPC, needed, str(folder))
    finally:
        tried.unlink(missing_ok=True)
        for place in missing:
            with contextlib.suppress(OSError):  # another process may have put something there
                place.rmdir()
    return folder


class _PythonFile(io.BufferedWriter):
    """An open file whose number is not told: Pillow writes to that by itself, and does not see when half is written."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("write to the file, not to its number")


@contextlib.contextmanager
def naming(path: Path, hidden: Path | None = None) -> Iterator[None]:
    """Around what writes: an error of the disk names `path` where it names no file, or the hidden one.

    Writing to an open file names none, and torch.save raises a RuntimeError after the file's own error.
    """
    try:
        yield
    except (OSError, RuntimeError) as raised:
        error: BaseException | None = raised
        while error is not None and not isinstance(error, OSError):
            error = error.__cause__ or error.__context__
        if error is None or (error.filename is not None and Path(os.fsdecode(error.filename)) != hidden):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
