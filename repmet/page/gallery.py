"""The images that a page may show, and nothing else: a number leads to a file, and no path ever comes from the browser."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image

from repmet.errors import UserError
from repmet.files import UnreadableImage, files_below, image_size, is_image_file, make_folder, open_rgb, write_atomically
from repmet.installation import cache_folder

THUMBNAIL = 192  # pixels of the longer side
SHOWN = 2560  # pixels of the longer side that the browser is given; boxes are in pixels of the whole image
KEPT = 12  # encoded images in memory
LARGEST = 150_000_000  # pixels of an image that is opened
_AT_ONCE = threading.BoundedSemaphore(2)  # decoding: a wall of thumbnails must not take all memory


@dataclass(frozen=True)
class Picture:
    """An image of the gallery: its path as it was named, and the folder or file that the person named."""

    path: Path
    root: Path

    def file(self) -> Path:
        """The file, if it still lies inside of what was named.

        Raises:
            UnreadableImage: it is gone, or a link leads out of the folder.
        """
        real = Path(os.path.realpath(self.path))
        if not real.is_relative_to(self.root):
            raise UnreadableImage(f"{self.path}: leads out of {self.root}; it is not shown")
        if not real.is_file():
            raise UnreadableImage(f"{self.path}: is gone")
        return real


class Gallery:
    """Images in the order of their names.

    Args:
        places: folders, for all images below them, and files.
        hidden: a folder that is passed over, the project's own.

    Raises:
        FileNotFoundError: a place that is not there.
        ValueError: no image in any of them.

    Attributes:
        pictures: the images.
        left_out: images that a link takes out of the named folders; they are not shown.
    """

    def __init__(self, places: Sequence[str | Path], hidden: Path | None = None) -> None:
        self.pictures: list[Picture] = []
        self.left_out: list[Path] = []
        known: set[Path] = set()
        away = None if hidden is None else Path(os.path.realpath(hidden))
        for place in places:
            named = Path(os.path.abspath(Path(place).expanduser()))
            root = Path(os.path.realpath(named))
            if not root.exists():
                raise FileNotFoundError(f"{place}: no such image or folder")
            if root.is_file() and not is_image_file(named):
                raise UserError(f"{place}: not the name of an image")
            for path in [named] if root.is_file() else filter(is_image_file, files_below(named)):
                real = Path(os.path.realpath(path))
                if path in known or (away is not None and real.is_relative_to(away)):
                    continue
                known.add(path)
                if real.is_relative_to(root):
                    self.pictures.append(Picture(path, root))
                else:
                    self.left_out.append(path)
        if not self.pictures:
            raise UserError(f"{', '.join(map(str, places))}: no image to show")
        self._shown: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.pictures)

    def size(self, number: int) -> tuple[int, int]:
        """Width and height as it is shown, from the file's head.

        Raises:
            UnreadableImage: it cannot be opened, or is too large to be.
        """
        path = self.pictures[number].file()
        width, height = image_size(path)
        if width * height > LARGEST:
            raise UnreadableImage(f"{path}: {width} x {height} pixels are more than the {LARGEST:,} that are opened")
        return width, height

    def open(self, number: int, least: tuple[int, int] | None = None) -> Image.Image:
        """The picture in RGB, upright. Raises as `size`."""
        self.size(number)
        with _AT_ONCE:
            return open_rgb(self.pictures[number].file(), least=least)

    def shown(self, number: int) -> bytes:
        """The picture as the browser gets it, a JPEG. Raises as `size`."""
        with self._lock:
            if number in self._shown:
                self._shown.move_to_end(number)
                return self._shown[number]
        content = _jpeg(self.open(number, (SHOWN, SHOWN)), SHOWN, 90)
        with self._lock:
            self._shown[number] = content
            while len(self._shown) > KEPT:
                self._shown.popitem(last=False)
        return content

    def thumbnail(self, number: int) -> bytes:
        """A small JPEG, kept on disk from then on. Raises as `size`."""
        file = self.pictures[number].file()
        state = file.stat()
        key = sha256(
            f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0{THUMBNAIL}".encode("utf-8", "surrogateescape")
        ).hexdigest()
        kept = cache_folder() / "thumbnails" / key[:2] / f"{key[2:32]}.jpg"
        try:
            return kept.read_bytes()
        except OSError:
            content = _jpeg(self.open(number, (THUMBNAIL, THUMBNAIL)), THUMBNAIL, 80)
        try:
            make_folder(kept.parent)
            write_atomically(kept, lambda to: to.write(content))
        except OSError:
            pass  # a full disk costs time alone
        return content

    def crop(self, number: int, box: Sequence[float]) -> bytes:
        """What a box holds, with a little of what is around it, as a JPEG. Raises as `size`."""
        picture = self.open(number)
        x1, y1, x2, y2 = box
        margin = 0.1 * max(x2 - x1, y2 - y1)
        sides = (max(0, x1 - margin), max(0, y1 - margin), min(picture.width, x2 + margin), min(picture.height, y2 + margin))
        left, top, right, bottom = (round(side) for side in sides)
        return _jpeg(picture.crop((left, top, max(right, left + 1), max(bottom, top + 1))), THUMBNAIL, 85)


def _jpeg(picture: Image.Image, longest: int, quality: int) -> bytes:
    picture.thumbnail((longest, longest))
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return content.getvalue()
