"""One reader of pictures for both trees: what a viewer shows is what is read. Needs Pillow alone."""

from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".avif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".jp2",
)  # fmt: skip


def is_image_file(path: Path) -> bool:
    """Whether a name says so, in any case; hidden files are none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def open_rgb(source: str | Path | BinaryIO, name: str | None = None) -> Image.Image:
    """The picture in RGB, upright as viewers show it, in memory.

    Args:
        source: a file, or an open one.
        name: for the message, where the source has none.

    Raises:
        ValueError: it is missing, damaged or no image; the message names it.
    """
    try:
        with Image.open(source) as image:
            return as_rgb(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name or source}: cannot be read as an image ({_reason(error)})") from None


def as_rgb(image: Image.Image) -> Image.Image:
    """A picture of Pillow's in RGB, turned as its orientation tag says."""
    return ImageOps.exif_transpose(image).convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return "no format that Pillow knows" if "cannot identify image file" in str(error) else str(error)
