"""The reader of "CVAT for images 1.1": one XML file, `annotations.xml`, with the images of a task beside it or below it.

    <annotations><image name="sub/a.jpg" width="640" height="480">
      <box label="nut" xtl="10.0" ytl="20.0" xbr="60.5" ybr="80.0" occluded="0"/> </image> ... </annotations>

Boxes are read; CVAT's other shapes are passed over, and one line says how many.
"""

import math
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np

from repmet.data.files.names import composed
from repmet.data.files.text import number_in
from repmet.data.files.walk import say_once
from repmet.data.readers.coco_pictures import picture_finder
from repmet.data.readers.image_ids import unique_ids
from repmet.data.readers.voc_annotation import ImageRecord, box_problem, raise_problems
from repmet.errors import UserError
from repmet.wording import counted, quoted, shortened

NAME = "annotations.xml"
_SIDES = ("xtl", "ytl", "xbr", "ybr")
_SHAPES = ("polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton")


def cvat_file(root: Path) -> Path | None:
    """The `annotations.xml` of a folder, or the file itself; None where there is none of CVAT's."""
    file = root / NAME if root.is_dir() else root
    if file.suffix.lower() != ".xml" or not file.is_file():
        return None
    try:
        for _, element in xml.iterparse(file, events=("start",)):
            return file if element.tag == "annotations" else None
    except xml.ParseError:
        pass
    return None


def read_cvat(path: Path) -> list[ImageRecord]:
    """The images of a file with their boxes.

    Raises:
        ValueError: it is no XML, or what is wrong with its images and boxes, all in one message.
    """
    try:
        root = xml.parse(path).getroot()
    except xml.ParseError as error:
        raise UserError(f"{path}: damaged ({error}); export it again") from None
    find, problems, records = picture_finder(path, None), [], []
    others = 0
    for image in root.iter("image"):
        name = image.get("name", "").strip()
        picture = find(name) if name else "has no name"
        if isinstance(picture, str):
            problems.append(f"image {quoted(name)} {picture}")
            continue
        others += sum(1 for shape in image if shape.tag in _SHAPES)
        record, wrong = _record(image, name, picture)
        problems += wrong
        records += [record] if record is not None else []
    raise_problems(path, problems)
    if others:
        say_once(f"{path}: {counted(others, 'shape')} that are no boxes are passed over")
    ids = unique_ids([r.id for r in records], [r.path for r in records], path.parent)
    return [
        ImageRecord(image_id, r.path, r.width, r.height, r.names, r.boxes, r.difficult)
        for r, image_id in zip(records, ids, strict=True)
    ]


def _record(image: xml.Element, name: str, picture: Path) -> tuple[ImageRecord | None, list[str]]:
    problems, labels, boxes = [], [], []
    who = f"image {quoted(name)}"
    width, height = number_in(image.get("width")), number_in(image.get("height"))
    if not (width >= 1 and height >= 1 and width % 1 == height % 1 == 0):  # NaN where there is no number
        return None, [f"{who} has no width and height in pixels"]
    for box in image.iter("box"):
        label = composed(box.get("label", "").strip())
        corners = tuple(number_in(box.get(side)) for side in _SIDES)
        if not all(map(math.isfinite, corners)):
            problems.append(f"{who}: a box ({shortened(label)}) lacks a number; it takes {', '.join(_SIDES)}")
            continue
        if not label:
            problems.append(f"{who}: a box has no label")
        elif box.get("outside") == "1":
            continue
        elif problem := box_problem(corners, width, height):
            problems.append(f"{who}: box {corners} ({shortened(label)}) {problem}; correct or delete it")
        else:
            labels.append(label)
            boxes.append(np.clip(corners, 0, [width, height] * 2))
    if problems:
        return None, problems
    corners_of, size = np.array(boxes, np.float32).reshape(-1, 4), (int(width), int(height))
    record_id = Path(name).with_suffix("").as_posix()
    return ImageRecord(record_id, picture, *size, tuple(labels), corners_of, np.zeros(len(labels), bool)), []
