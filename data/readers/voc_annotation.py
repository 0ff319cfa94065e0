"""One image of a VOC devkit: its record, its XML file, and whether its picture is whole.

Problems are returned as sentences instead of being raised, so that the reader of a whole set can report all of them.
"""

import logging
import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

# A box may stick out of its image by this many pixels (annotation tools round, and count from 0 or from 1): it is clipped.
TOLERANCE = 2.0
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SHOWN = 10
_END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}


@dataclass(frozen=True)
class ImageRecord:
    """What is known of one image: path, size in pixels, and its n objects.

    boxes: (n, 4) float32, x1, y1, x2, y2 in pixels counted from 0 (VOC counts from 1; 1 is subtracted from all four
    numbers). difficult: (n,) bool, objects that evaluation neither demands nor punishes.
    """

    id: str
    path: Path
    width: int
    height: int
    names: tuple[str, ...]
    boxes: np.ndarray
    difficult: np.ndarray


def read_annotation(xml_path: Path, image_path: Path) -> tuple[ImageRecord | None, list[str]]:
    """The record of one image from its XML file, and what is wrong with it. With problems the record is None."""
    try:
        root = ElementTree.parse(xml_path).getroot()
    except FileNotFoundError:
        return None, [f"{xml_path}: the annotation is missing; add it, or take the image off the list"]
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        return None, [f"{xml_path}: not well-formed XML ({error}); fetch or export the file again"]
    width, height = _number(root.findtext("size/width")), _number(root.findtext("size/height"))
    if not (width >= 1 and height >= 1):  # NaN where there is no number
        return None, [f"{xml_path}: no <size> with <width> and <height>; write the picture's size there"]
    names, boxes, difficult, problems = [], [], [], []
    for i, entry in enumerate(root.iterfind("object"), start=1):
        name = (entry.findtext("name") or "").strip()
        corners = [_number(entry.findtext(f"bndbox/{corner}")) for corner in _CORNERS]
        x1, y1, x2, y2 = (corner - 1 for corner in corners)
        who = f"{xml_path}: object {i} ({name or 'no name'})"
        if not name:
            problems.append(f"{who} has no <name>; give it a class or delete it")
        elif not all(map(math.isfinite, corners)):
            problems.append(f"{who} lacks a number in <bndbox>; it takes {', '.join(_CORNERS)}")
        elif problem := box_problem((x1, y1, x2, y2), width, height):
            shown = ", ".join(f"{corner:g}" for corner in corners)
            problems.append(f"{who}: box ({shown}) {problem}; correct or delete it")
        else:
            names.append(name)
            boxes.append((max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)))
            difficult.append((entry.findtext("difficult") or "0").strip() not in ("0", ""))
    if problems:
        return None, problems
    record = ImageRecord(
        id=xml_path.stem,
        path=image_path,
        width=int(width),
        height=int(height),
        names=tuple(names),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        difficult=np.array(difficult, bool),
    )
    return record, []


def box_problem(box: Sequence[float], width: float, height: float) -> str | None:
    """What is wrong with a box x1, y1, x2, y2 in pixels from 0, as the end of a sentence, or None."""
    x1, y1, x2, y2 = box
    if min(x1, y1) <= -TOLERANCE or x2 >= width + TOLERANCE or y2 >= height + TOLERANCE:
        return f"lies outside the image of {width:g}x{height:g}"
    if min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0):
        return "has no area"
    return None


def raise_problems(where: object, problems: Sequence[str]) -> None:
    """Raises one ValueError with the first problems of a set of annotations, if there are any."""
    if problems:
        more = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ValueError(f"{where}: {len(problems)} problem(s)\n  " + "\n  ".join(problems[:_SHOWN]) + more)


def tell_left_out(left_out: Sequence[str], records: Sequence[ImageRecord], nothing: str) -> None:
    """Of a published set, which nobody can correct: one warning that counts what was wrong with it.

    Raises:
        ValueError: no image is left; it begins with `nothing`.
    """
    if left_out:
        logging.getLogger(__name__).warning("%d images or boxes are left out, the first: %s", len(left_out), left_out[0])
    if not records:
        raise ValueError(nothing + (f"; {left_out[0]}" if left_out else ""))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as viewers and OpenCV show the picture: turned where a camera was held on its side.

    Raises:
        OSError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            return _shown_size(image)
    except (SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from None


def check_image(record: ImageRecord, *, decode: bool = False) -> str | None:
    """What is wrong with the picture of a record, or None.

    Cheap: the header, its size against the annotation's, and the format's end marker in the file's tail. decode=True reads
    every pixel, which also finds damage in the middle.
    """
    path = record.path
    try:
        with Image.open(path) as image:
            kind, size = image.format, _shown_size(image)
            if decode:
                image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{path}: cannot be read as an image ({error}); fetch it again"
    if size != (record.width, record.height):
        return (
            f"{path}: the picture has {size[0]}x{size[1]} pixels and its annotation says {record.width}x{record.height}; "
            "one of the two is wrong"
        )
    if kind in _END_MARKERS:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 4096))  # some cameras write a few bytes after the end
            if _END_MARKERS[kind] not in file.read():
                return f"{path}: the file is truncated (no {kind} end marker); fetch it again"
    return None


def _shown_size(image: Image.Image) -> tuple[int, int]:
    """The size as viewers and OpenCV show it: a camera may have been held on its side. (Asking a PNG would decode it.)"""
    turned = image.format == "JPEG" and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return image.size[::-1] if turned else image.size


def _number(text: str | None) -> float:
    """The number in a tag's text, NaN where there is none."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
