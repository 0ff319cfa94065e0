"""Sets of many files that appear together or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from repmet.data.files.atomic import make_folder


@contextlib.contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """A hidden folder to write a set into; at the end of the block its files move to the same places below `folder`.

    What was there stays, but for files of the same names. They move in the order in which they were written, so that what
    lists the others comes last. Where the block fails, or a file cannot be moved before the first has been, `folder` is left
    as it was, and not there where it was not.

    Raises:
        OSError: a folder cannot be made, or a folder lies where a file is to be; it names the place below `folder`.
    """
    folder = Path(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    aside = make_folder(folder) / f".set.{os.getpid()}-{secrets.token_hex(4)}.part"
    aside.mkdir()
    try:
        try:
            yield aside
        except OSError as error:
            raise _below(error, aside, folder) from None
        files = sorted((path for path in aside.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
        targets = [folder / path.relative_to(aside) for path in files]
        for target in targets:
            make_folder(target.parent)
            if target.is_dir():
                raise IsADirectoryError(21, "is a folder; a file is to be written there", str(target))
        for path, target in zip(files, targets, strict=True):
            os.replace(path, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        for place in missing:
            with contextlib.suppress(OSError):  # what has been written stays
                place.rmdir()


def _below(error: OSError, aside: Path, folder: Path) -> OSError:
    """The same error of the file's place to be, in the place of the hidden one."""
    name = None if error.filename is None else Path(os.fsdecode(error.filename))
    if name is None or not name.is_relative_to(aside):
        return error
    return OSError(error.errno, error.strerror, str(folder / name.relative_to(aside)))
