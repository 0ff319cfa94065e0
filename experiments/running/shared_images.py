"""Many images that one or several processes look at: what is made of each is kept at once, and no image is looked at twice.

    torchrun --nproc-per-node 2 -m repmet detect ...        # or python -m repmet detect ..., the same files

Each process takes every n-th image and adds a line of JSON an image to a file of its own, below `unfinished/`. The first
process puts them in order when all are there. Who is killed loses the images that it was looking at; the same command, by
however many processes, goes on with what is left. Where the command or a file that it reads has changed, it begins anew.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from repmet.data.files.journal import Item, Journal, Place
from repmet.data.files.lock import hold
from repmet.data.files.walk import is_hidden
from repmet.data.readers.image_inputs import ImageInput
from repmet.errors import UserError
from repmet.experiments.running.processes import agreed, all_arrived, my_share, process_number, say
from repmet.installation import version
from repmet.wording import counted

UNFINISHED = "unfinished"
HELD = ".held"  # by the command that writes there
FORGOTTEN = 7 * 86400.0  # seconds after which nobody goes on with it
CHANGES_NOTHING = ("images", "out", "batch_size")  # options that say where and how fast, not what


class SharedImages:
    """Images, and what was made of them so far.

    Args:
        images: all of them, in their order.
        folder: for the lines; nothing else is in it.
        asked: what is made of each image, as `asked` says it: lines of anything else are not taken up.
        complete: whether what was made of an image beside its line is there, by its number.

    Attributes:
        mine: the images that this process is to look at.

    Raises:
        ValueError: another command is writing to the same place. OSError: nothing can be written there.
    """

    def __init__(
        self,
        images: Sequence[ImageInput],
        folder: Path,
        asked: str,
        complete: Callable[[int], bool] = lambda number: True,
    ) -> None:
        self.images = images
        self._new = [place for place in (folder, *folder.parents) if not place.exists()]
        lines = folder / asked

        def seen() -> tuple[str, list[int]]:
            busy = f"{folder}: another command is at work there; wait for it, or name another --out"
            self._held = hold(folder / HELD, busy)
            _forget(folder)
            before = Journal(lines, "").places()
            left = [number for number, image in enumerate(images) if item(image) not in before or not complete(number)]
            return secrets.token_hex(4), left

        self.run, left = agreed(seen)
        self._journal = Journal(lines, f"{self.run}-{process_number()}")
        self._numbers = {id(images[number]): number for number in my_share(left)}
        self.mine = [images[number] for number in self._numbers.values()]
        if len(left) < len(images):
            say(f"{len(images) - len(left)} of {counted(len(images), 'image')} were looked at before: {lines}")

    def number(self, image: ImageInput) -> int:
        """Which of all images one of `mine` is."""
        return self._numbers[id(image)]

    def add(self, image: ImageInput, entry: dict[str, Any]) -> None:
        """Keeps what was made of an image. Raises OSError where there is no room."""
        self._journal.add(item(image), entry)

    def finish(self, unreadable: Iterable[str] = ()) -> bool:
        """Waits for the other processes; True in the first one, which goes on alone.

        Args:
            unreadable: a line about each of `mine` that could not be looked at.

        Raises:
            ValueError: a process has died; the message says how much is left.
        """
        for number, problem in enumerate(unreadable):
            self._journal.add((_PROBLEM, self.run, process_number(), number, problem), {})
        self._journal.close()
        if not all_arrived():
            left = len(self.images) - len(list(self._seen())) - len(self.problems())
            raise UserError(
                f"a process has ended before its share was done: {counted(left, 'image')} of {len(self.images)} are left; "
                "run the same command again, which goes on with them"
            )
        return process_number() == 0

    def problems(self) -> list[str]:
        """What this run's processes said of images that could not be looked at."""
        return [str(what[-1]) for what in self._journal.places() if what[:2] == (_PROBLEM, self.run)]

    def looked_at(self) -> list[ImageInput]:
        """The images of which something was made, in their order."""
        return [image for _, image, _ in self._seen()]

    def entries(self) -> Iterator[tuple[int, ImageInput, dict[str, Any]]]:
        """What was made of each image, in their order, with its number; of one that could not be looked at, nothing."""
        seen = list(self._seen())
        lines = Journal.read(place for _, _, place in seen)
        for (number, image, _), line in zip(seen, lines, strict=True):
            del line["item"]
            yield number, image, line

    def remove(self) -> None:
        """Takes the lines away: what was made of them is written elsewhere."""
        shutil.rmtree(self._journal.folder, ignore_errors=True)
        (self._journal.folder.parent / HELD).unlink(missing_ok=True)
        self._held.close()
        for place in (self._journal.folder.parent, *self._new):
            with contextlib.suppress(OSError):  # another command's lines, or what was written
                place.rmdir()

    def _seen(self) -> Iterator[tuple[int, ImageInput, Place]]:
        places = self._journal.places()
        for number, image in enumerate(self.images):
            if (place := places.get(item(image))) is not None:
                yield number, image, place


_PROBLEM = "\0problem "  # no image has such a name


def item(image: ImageInput) -> Item:
    """An image's name, and size and time of its file, which change when it does."""
    try:
        facts = image.path and image.path.stat()
    except OSError:
        facts = None
    return (image.name, facts.st_size, facts.st_mtime_ns) if facts else (image.name,)


def asked(args: argparse.Namespace, reads: Iterable[str | Path | None], apart: Path) -> str:
    """A digest of a command: its options, the version, and the size and time of the files that it reads.

    Args:
        reads: files and folders, such as the checkpoint and the supports; names of anything else say themselves.
        apart: where the command writes; nothing below counts.
    """
    options = {key: value for key, value in vars(args).items() if key not in CHANGES_NOTHING}
    files = [[str(file), facts.st_size, facts.st_mtime_ns] for path in reads if path for file, facts in _files(path, apart)]
    return sha256(json.dumps([options, version(), files], sort_keys=True, default=str).encode()).hexdigest()[:16]


def _files(path: str | Path, apart: Path) -> Iterator[tuple[Path, os.stat_result]]:
    path, apart = Path(path).expanduser(), apart.absolute()
    if path.is_file():
        yield path, path.stat()
    for folder, below, names in os.walk(path):
        here = Path(folder)
        below[:] = sorted(name for name in below if not is_hidden(here / name) and (here / name).absolute() != apart)
        for file in (here / name for name in sorted(names)):
            if file.is_file() and not is_hidden(file):
                yield file, file.stat()


def _forget(folder: Path) -> None:
    """Takes away what a run began that nobody has gone on with."""
    for lines in folder.iterdir() if folder.is_dir() else ():
        if lines.is_dir() and time.time() - lines.stat().st_mtime > FORGOTTEN:
            shutil.rmtree(lines, ignore_errors=True)
