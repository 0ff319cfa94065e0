"""The one reader of images: a file as a viewer shows it, in 8-bit RGB. Both trees, their pictures and their checks use it.

What a viewer does and a bare decoder does not: it turns the picture as its camera was held, in every format that says so; it
scales grey of 16 bits instead of cutting it off; it lays what is transparent on white paper.
"""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps

from repmet.errors import UserError

# By the names of files, in any case. What Pillow reads beyond these are icons, plots and scientific data, no photographs.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
)  # fmt: skip
WHITE = (255, 255, 255)
_END_MARKERS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
# What Pillow raises for damaged files, its own errors and those of the libraries below it.
_DAMAGE = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, EOFError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip


class UnreadableImage(UserError):
    """A file that cannot be read as an image; the message names it. Made of its message alone, so that the processes that
    load data can hand it on."""


def _unreadable(source: object, error: Exception) -> UnreadableImage:
    return UnreadableImage(f"{source}: cannot be read as an image ({_reason(error)}); fetch it again or take it away")


def is_image_file(path: Path) -> bool:
    """Whether a name says so, in any case; hidden files are none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_rgb(source: str | Path | bytes, name: str | Path | None = None) -> np.ndarray:
    """`open_rgb` as an array (H, W, 3) uint8. Arguments and errors as there."""
    return np.array(open_rgb(source, name))


def open_rgb(
    source: str | Path | bytes | BinaryIO, name: str | Path | None = None, *, least: tuple[int, int] | None = None
) -> Image.Image:
    """An image as a viewer shows it, in RGB: turned upright, transparency on white, deeper values scaled to 8 bits.

    Args:
        source: a file, its bytes, or an open one.
        name: what to call it in a message; a file's own name by default.
        least: width and height that are enough: a JPEG may be decoded at a fraction of its size, never below these.

    Raises:
        UnreadableImage: it is missing, damaged, no image, or has values without a known range (32-bit integers; floating
            point outside [0, 1]).
    """
    named = name if name is not None else source if isinstance(source, str | Path) else "the image"
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if least is not None:
                image.draft("RGB", least[::-1] if _orientation(image) >= 5 else least)
            return as_rgb(image)
    except _DAMAGE as error:
        raise _unreadable(named, error) from None
    except MemoryError:
        raise UnreadableImage(f"{named}: too large for the memory that is free") from None


def as_rgb(image: Image.Image) -> Image.Image:
    """A picture of Pillow's, of any mode, as it is shown, in RGB.

    Raises:
        ValueError: its values have no known range.
    """
    _check_range(image)
    return _on_white(_eight_bits(ImageOps.exif_transpose(image)))


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels as the picture is shown; from the file's head, without decoding it.

    Raises:
        UnreadableImage: the file cannot be read as an image.
    """
    return _look(Path(path), decode=False)[0]


def contained(image: Image.Image, side: int) -> Image.Image:
    """The picture scaled so that its longer side has `side` pixels; of one that is very thin the other keeps one pixel."""
    scale = side / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def picture_problem(path: str | Path, size: tuple[int, int] | None = None, *, decode: bool = False) -> str | None:
    """What is wrong with a picture that its head and its end betray, as a sentence, or None.

    Args:
        path: the file.
        size: width and height that its annotation says.
        decode: look at every pixel instead, which also finds damage in the middle.
    """
    path = Path(path)
    try:
        real, kind = _look(path, decode=decode)
    except UnreadableImage as error:
        return f"{error}"
    if size is not None and real != tuple(size):
        said = f"{path}: the picture has {real[0]}x{real[1]} pixels and its annotation says {size[0]}x{size[1]}; "
        exchanged = real == tuple(size)[::-1]
        return said + ("width and height are exchanged" if exchanged else "one of the two is wrong")
    if kind in _END_MARKERS:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))  # some cameras write a few bytes after the end
            if _END_MARKERS[kind] not in file.read():
                return f"{path}: the file is truncated (no {kind} end marker); fetch it again"
    return None


def _look(path: Path, *, decode: bool) -> tuple[tuple[int, int], str]:
    """The size as shown and the format."""
    try:
        with Image.open(path) as image:
            _check_range(image)
            kind, size = image.format or "", image.size
            if kind == "TIFF":  # whose size Pillow has turned already, since some version
                size = image.tag_v2[256], image.tag_v2[257]
            if _orientation(image) >= 5:
                size = size[::-1]
            if decode or image.mode == "F":
                as_rgb(image)
            return size, kind
    except _DAMAGE as error:
        raise _unreadable(path, error) from None


def _reason(error: Exception) -> str:
    """An error's text on one line, without the path, which the message begins with."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else re.sub(r" (file )?'[^']*'$", "", f"{error}")
    return " ".join(text.split()) or type(error).__name__


def _orientation(image: Image.Image) -> int:
    """The tag of orientation, 1 to 8, as `exif_transpose` will find it. Asking a PNG for it would decode it first."""
    if image.format == "PNG" and image.fp is not None and not _tells_late(image.fp):
        exif = Image.Image.getexif(image)
    else:
        exif = image.getexif()
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _tells_late(file: BinaryIO) -> bool:
    """Whether a PNG has text or EXIF behind its pixels, where Pillow finds it only after decoding."""
    place = file.tell()
    try:
        file.seek(8)
        pixels = False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            pixels = pixels or kind == b"IDAT"
            if pixels and kind in (b"eXIf", b"iTXt", b"zTXt", b"tEXt"):
                return True
            file.seek(length + 4, io.SEEK_CUR)
        return False
    finally:
        file.seek(place)


def _check_range(image: Image.Image) -> None:
    if image.mode == "I" and image.format == "TIFF" and image.tag_v2.get(258, (32,))[0] > 16:
        raise UserError("32-bit integers, of which nothing says how bright is white: save it in 8 or 16 bits")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits scaled: 65535, and 1.0 in floating point, are white; all others as they are."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f"values from {values.min()} to {values.max()}, not of 16 bits: save it in 8 or 16 bits")
        grey = ((values + 128) // 257).astype(np.uint8)
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            grey[values == clear] = 255
        return Image.fromarray(grey)
    if image.mode == "F":
        values = np.asarray(image)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            if not np.isfinite(values).all():
                raise UserError("floating point with values that are no numbers: save it in 8 or 16 bits")
            low, high = values.min(), values.max()
            raise UserError(f"floating point from {low:g} to {high:g}, not from 0 to 1: save it in 8 or 16 bits")
        return Image.fromarray((values * 255 + 0.5).astype(np.uint8))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (*WHITE, 255)), image).convert("RGB")
