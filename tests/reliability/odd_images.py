"""A generator of odd images: modes, depths, orientations, sizes, files that are cut off, changed, or none."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

MODES = {
    ".png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    ".jpg": ("L", "RGB", "CMYK"),
    ".tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
    ".webp": ("RGB", "RGBA"),
    ".bmp": ("1", "L", "P", "RGB", "RGBA"),
    ".gif": ("L", "P"),
}
SIZES = ((1, 1), (2, 500), (500, 2), (3, 3), (640, 7), (31, 33), (3000, 40))
EXTREME = ((30_000, 3), (3, 30_000))  # what finds objects may refuse to scale these


@dataclass(frozen=True)
class OddImage:
    """A file's name and content.

    Attributes:
        case: what is odd about it.
        whole: whether it has to be read; else a line that names it is as good.
    """

    name: str
    content: bytes
    case: str
    whole: bool = False


def odd_images(seed: int) -> Iterator[OddImage]:
    """About 130 files; another seed gives other pixels, places and bytes."""
    noise = np.random.default_rng(seed)
    number = iter(range(10_000))

    def named(suffix: str) -> str:
        return f"{next(number):04d}{suffix}"

    def picture(size: tuple[int, int]) -> Image.Image:
        return Image.fromarray(noise.integers(0, 256, (size[1], size[0], 3), np.uint8))

    for suffix, modes in MODES.items():
        for mode in modes:
            content = encoded(in_mode(picture((40, 30)), mode), suffix)
            yield OddImage(named(suffix), content, f"mode {mode}", whole=mode not in ("I", "F"))
    for orientation in range(10):  # 0 and 9 are none
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        for suffix in (".jpg", ".png", ".webp"):
            yield OddImage(named(suffix), encoded(picture((40, 20)), suffix, exif=exif), "orientation", whole=True)
    for size in SIZES:
        yield OddImage(named(".png"), encoded(picture(size), ".png"), "size", whole=min(size) > 2)
    for size in EXTREME:
        yield OddImage(named(".png"), encoded(picture(size), ".png"), "extreme size")
    for suffix in MODES:
        whole = encoded(picture((60, 50)), suffix)
        for tenth in range(10):
            yield OddImage(named(suffix), whole[: len(whole) * tenth // 10], "cut off")
        for _ in range(3):
            changed = bytearray(whole)
            for place in noise.integers(0, len(whole), 4):
                changed[place] ^= int(noise.integers(1, 256))
            yield OddImage(named(suffix), bytes(changed), "changed bytes")
        other = next(other for other in MODES if other != suffix)
        yield OddImage(named(other), whole, "another format than its name says", whole=True)
    for content in (
        b"",
        b"\0" * 500,
        noise.bytes(300),
        b"<html>404</html>",
        b"version https://git-lfs.github.com/spec/v1\n",
    ):
        yield OddImage(named(".jpg"), content, "no image")
    for width, height in ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 5)):
        yield OddImage(named(".png"), png_header(width, height), "bomb")


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.int32) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32))
    return image.convert(mode)


def encoded(image: Image.Image, suffix: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, format=Image.registered_extensions()[suffix], **options)
    return content.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says to be large, and is a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
