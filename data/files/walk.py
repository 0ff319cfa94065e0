"""Folders as people mean them: hidden files are none, linked folders are followed once, what is passed over is said once."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from repmet.data.files.atomic import make_folder
from repmet.data.files.pictures import is_image_file
from repmet.errors import UserError
from repmet.wording import on_a_line

# What systems leave beside hidden files: archives made on a Mac, thumbnails of network disks and of Windows.
_LEFT_BY_SYSTEMS = ("__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin")

_DRAWN = ".drawn"  # lies in folders of copies with boxes drawn on them, which are nobody's images


def make_drawn_folder(folder: str | Path) -> Path:
    """A folder for what a command draws on images; where it lies among images, it is passed over from then on.

    Raises:
        ValueError: as `check_drawn_folder`. OSError: it cannot be made.
    """
    check_drawn_folder(folder)
    folder = make_folder(folder)
    (folder / _DRAWN).touch()
    return folder


def check_drawn_folder(folder: str | Path) -> None:
    """Raises ValueError for a folder of somebody's own files, which would be passed over with what is drawn there."""
    folder = Path(folder)
    if folder.is_dir() and not (folder / _DRAWN).exists() and entries(folder):
        raise UserError(f"{folder}: holds other files than those that are drawn by a command; name another folder by --out")


def is_hidden(path: Path) -> bool:
    """Whether viewers and people pass a name over."""
    return path.name.startswith(".") or path.name.lower() in _LEFT_BY_SYSTEMS


def entries(folder: str | Path) -> list[Path]:
    """What lies in a folder itself, by name, without hidden files and folders."""
    return sorted((path for path in Path(folder).iterdir() if not is_hidden(path)), key=lambda path: path.name)


def subfolders(folder: str | Path) -> list[Path]:
    """The folders in a folder itself, linked ones too, by name; without what a command has drawn (`make_drawn_folder`)."""
    return [path for path in entries(folder) if path.is_dir() and not (path / _DRAWN).is_file()]


def images_in(folder: str | Path) -> list[Path]:
    """The images in a folder itself, by name; what else is there is passed over and said."""
    inside = entries(folder)
    images = [path for path in inside if is_image_file(path) and path.is_file()]
    tell_passed_over(folder, set(inside) - set(images))
    return images


def files_below(root: str | Path) -> list[Path]:
    """Every file below a folder, a folder's own before those of its sub-folders, both in the order of their names.

    Hidden files and folders are passed over, and what a command has drawn (`make_drawn_folder`). A link to a folder is
    followed; a folder that can be reached by two ways is looked into once, by the way without a link where there is one. A
    link to a folder above leads nowhere new.
    """
    root = Path(root)
    seen = set(root.resolve().parents)
    files: list[Path] = []
    waiting = [root]
    while waiting:
        links: list[Path] = []
        for folder in waiting:
            files += _walk(folder, seen, links)
        waiting = links
    return sorted(files, key=lambda path: (*((1, part) for part in path.parts[:-1]), (0, path.name)))


def _walk(folder: Path, seen: set[Path], links: list[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    for path in entries(folder):
        if path.is_file():
            yield path
        elif not path.is_dir():
            if path.exists():
                say_once(f"{path}: a pipe, a socket or a device is passed over")  # to open a pipe waits for its writer
            else:  # a link to nothing: whoever reads it says so
                yield path
        elif (path / _DRAWN).is_file():
            say_once(f"{path}: pictures that were drawn by a command are passed over")
        elif path.is_symlink():
            links.append(path)
        else:
            yield from _walk(path, seen, links)


def tell_passed_over(where: str | Path, passed: Iterable[Path]) -> None:
    """Says, with counts, what of a folder is neither an image nor an annotation, if anything is."""
    kinds = Counter("folder" if path.is_dir() else path.suffix.lower() or path.name for path in sorted(passed))
    if kinds:
        shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        say_once(f"{where}: files that are no images are passed over: {shown}")


@cache
def say_once(message: str) -> None:
    """Says something once in the life of the process, however often a folder is read."""
    logging.getLogger(__name__).warning("%s", on_a_line(message))
