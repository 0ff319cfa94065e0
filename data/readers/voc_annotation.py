"""One image of a VOC devkit: its record, its XML file, and whether its picture is whole.

Problems are returned as sentences instead of being raised, so that the reader of a whole set can report all of them.
"""

import logging
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repmet.data.files.names import composed
from repmet.data.files.pictures import picture_problem
from repmet.data.files.text import number_in
from repmet.errors import UserError
from repmet.wording import counted, quoted, shortened

# A box may stick out of its image by this many pixels (annotation tools round, and count from 0 or from 1): it is clipped.
TOLERANCE = 2.0
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ONCE = ("name", "bndbox", *(f"bndbox/{corner}" for corner in _CORNERS), "difficult")  # of an <object>
_SHOWN = 10  # problems of a set
_LONGEST = 800  # letters of one of them, which may name two files


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


def read_annotation(xml_path: Path, image_path: Path, image_id: str | None = None) -> tuple[ImageRecord | None, list[str]]:
    """The record of one image from its XML file, and what is wrong with it. With problems the record is None.

    Args:
        image_id: the XML file's name without its suffix by default.
    """
    try:
        root = parse_xml(xml_path)
    except FileNotFoundError:
        return None, [f"{xml_path}: the annotation is missing; add it, or take the image off the list"]
    except (ValueError, OSError) as error:
        return None, [f"{error}"]
    width, height = number_in(root.findtext("size/width")), number_in(root.findtext("size/height"))
    if not (width >= 1 and height >= 1 and width % 1 == height % 1 == 0):  # NaN where there is no number
        return None, [f"{xml_path}: no <size> with <width> and <height>; write the picture's size there"]
    names, boxes, difficult, problems = [], [], [], []
    for i, entry in enumerate(root.iterfind("object"), start=1):
        name = composed((entry.findtext("name") or "").strip())
        corners = [number_in(entry.findtext(f"bndbox/{corner}")) for corner in _CORNERS]
        x1, y1, x2, y2 = (corner - 1 for corner in corners)
        who = f"{xml_path}: object {i} ({shortened(name) or 'no name'})"
        doubled = [(tag, count) for tag in _ONCE if (count := len(entry.findall(tag))) > 1]
        hard = yes_or_no(entry.findtext("difficult"))
        shown = ", ".join(f"{corner:g}" for corner in corners)
        if doubled:
            (tag, count), *_ = doubled
            problems.append(f"{who} has {count} <{tag.rpartition('/')[2]}>; write an <object> for each box")
        elif not name:
            problems.append(f"{who} has no <name>; give it a class or delete it")
        elif not all(map(math.isfinite, corners)):
            problems.append(f"{who} lacks a number in <bndbox>; it takes {', '.join(_CORNERS)}")
        elif problem := shares_problem(corners, width, height) or box_problem((x1, y1, x2, y2), width, height):
            problems.append(f"{who}: box ({shown}) {problem}; correct or delete it")
        elif hard is None:
            problems.append(f"{who}: <difficult> {quoted(entry.findtext('difficult'))} is neither yes nor no; write 0 or 1")
        else:
            names.append(name)
            boxes.append((max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)))
            difficult.append(hard)
    if problems:
        return None, problems
    record = ImageRecord(
        id=image_id or xml_path.stem,
        path=image_path,
        width=int(width),
        height=int(height),
        names=tuple(names),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        difficult=np.array(difficult, bool),
    )
    return record, []


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file in any encoding that Python knows; of names in a namespace, the names alone.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not well-formed, or of an unknown encoding; the message names it.
    """
    root = _root(path, path.read_bytes())
    for element in root.iter():
        if isinstance(element.tag, str):  # comments have none
            element.tag = element.tag.rpartition("}")[2]
    return root


def _root(path: Path, content: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: not well-formed XML ({error}); fetch or export the file again") from None
    except (ValueError, LookupError):  # of the parser: an encoding of several bytes a letter, or an unknown one
        declared = re.search(rb"""encoding\s*=\s*["']([^"']+)""", content[:200])
        encoding = declared[1].decode("ascii", "replace") if declared else "utf-8"
    try:
        return ElementTree.fromstring(content.decode(encoding))
    except LookupError:
        raise UserError(f"{path}: its encoding {encoding!r} is unknown; save it in UTF-8") from None
    except (ValueError, ElementTree.ParseError) as error:
        raise UserError(f"{path}: not well-formed XML in {encoding} ({error}); fetch or export the file again") from None


_YES = frozenset({"1", "true", "yes", "y", "t", "on"})
_NO = frozenset({"", "0", "false", "no", "n", "f", "off", "none", "null", "unspecified", "unknown"})


def yes_or_no(value: object) -> bool | None:
    """A flag as people and tools write it: a word in any case, or a number, which is yes unless it is 0; None is no.

    Returns:
        None where it is neither yes nor no.
    """
    text = "" if value is None else str(value).strip().lower()
    if text in _YES or text in _NO:
        return text in _YES
    number = number_in(text)
    return None if math.isnan(number) else number != 0


def shares_problem(numbers: Sequence[float], width: float, height: float) -> str | None:
    """The end of a sentence where a box's four numbers cannot be pixels: all lie within the first one."""
    if max(map(abs, numbers)) <= 1 and min(width, height) > 1:
        return f"is no larger than a pixel of {width:g}x{height:g}: are these shares of the image? They are pixels here"
    return None


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
        shown = [shortened(problem, _LONGEST) for problem in problems[:_SHOWN]]
        more = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UserError(f"{where}: {counted(len(problems), 'problem')}:\n  " + "\n  ".join(shown) + more)


def tell_left_out(left_out: Sequence[str], records: Sequence[ImageRecord], nothing: str) -> None:
    """Of a published set, which nobody can correct: one warning that counts what was wrong with it.

    Raises:
        ValueError: no image is left; it begins with `nothing`.
    """
    if left_out:
        logging.getLogger(__name__).warning("%d images or boxes are left out, the first: %s", len(left_out), left_out[0])
    if not records:
        raise UserError(nothing + (f"; {left_out[0]}" if left_out else ""))


def check_image(record: ImageRecord, *, decode: bool = False) -> str | None:
    """What is wrong with the picture of a record, or None: by its head and end, with `decode` by every pixel."""
    return picture_problem(record.path, (record.width, record.height), decode=decode)
