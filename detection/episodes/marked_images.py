"""Supports that somebody marks from Python: {class: [(image, box), ...]}."""

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from repmet.data.readers.class_name import check_class_names
from repmet.data.readers.image_inputs import ImageInput, image_inputs, is_one_image
from repmet.data.readers.voc_annotation import box_problem, raise_problems
from repmet.detection.episodes.doubled_marks import each_mark_once
from repmet.detection.episodes.odd_marks import say_odd_marks
from repmet.detection.episodes.open_image import OpenImage
from repmet.errors import UserError

Marks = Mapping[str, Iterable[tuple[Any, Any]]]


def read_marks(marks: Marks) -> list[OpenImage]:
    """The support images with their boxes, each image and box once, in the order in which they come.

    Args:
        marks: by class, pairs of an image (a path, an address, a PIL image, an array (H, W, 3) in RGB or a tensor
            (3, H, W), see `data.readers.image_inputs`) and a box x1, y1, x2, y2 in its pixels from 0. An image that has
            several boxes may come several times, as the same path or object.

    Raises:
        TypeError, ValueError: what is wrong with a class, an image or a box, in one message; boxes that stick out by less
            than two pixels are clipped.
        FileNotFoundError: an image that is not there.
    """
    if not isinstance(marks, Mapping):
        raise TypeError(f"supports are a folder, a file or {{class: [(image, box), ...]}}, not {type(marks).__name__}")
    if not marks:
        raise UserError("no class is shown: the supports are empty")
    pictures: dict[Any, tuple[ImageInput, list[str], list[tuple[float, ...]]]] = {}
    kept, problems = [], []
    for name, pairs in marks.items():
        check_class_names([name])
        count = 0
        for count, pair in enumerate(pairs, start=1):
            who = f"{name}: support {count}"
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UserError(f"{who} is not a pair (image, box)")
            image, box = pair
            corners = _corners(box, who)
            if not is_one_image(image):
                image_inputs(image)  # says what is wrong with it, where something is
                raise UserError(f"{who}: a pair holds one image, not {image!r:.80}")
            key = str(image) if isinstance(image, str) or hasattr(image, "__fspath__") else id(image)
            if key not in pictures:
                kept.append(image)  # an id is an object's as long as the object lives
                (opened,) = image_inputs(image)
                pictures[key] = (opened, [], [])
            pictures[key][1].append(name.strip())
            pictures[key][2].append(corners)
        if not count:
            raise UserError(f"{name}: no support is given; a class is shown by at least one (image, box)")
    records = []
    for number, (image, names, boxes) in enumerate(pictures.values(), start=1):
        shown = image.open()
        label = image.name if image.path or isinstance(image.source, str) else f"support image {number}"
        for name, box in zip(names, boxes, strict=True):
            if problem := _problem(box, *shown.size):
                problems.append(f"{name}: box {_said(box)} of {label} {problem}")
        clipped = [np.clip(box, 0, [*shown.size] * 2) for box in boxes]
        records.append(OpenImage.of(label, shown, names, clipped))
    raise_problems("the supports", problems)
    records = each_mark_once(records, "the supports")
    say_odd_marks(records)
    return records


def _corners(box: Any, who: str) -> tuple[float, ...]:
    values = box.tolist() if hasattr(box, "tolist") else box
    right = isinstance(values, tuple | list) and len(values) == 4 and all(isinstance(v, Real) for v in values)
    if not right or not all(map(math.isfinite, values)):
        raise UserError(f"{who}: a box is four numbers x1, y1, x2, y2 in pixels, not {values!r:.80}")
    return tuple(map(float, values))


def _problem(box: tuple[float, ...], width: int, height: int) -> str | None:
    if max(box) <= 1 and min(width, height) > 1:
        return "looks like shares of the image; boxes are in pixels"
    if box[2] <= box[0] or box[3] <= box[1]:
        return "ends before it begins; a box is x1, y1, x2, y2 (not width and height)"
    return box_problem(box, width, height)


def _said(box: tuple[float, ...]) -> str:
    return f"({', '.join(f'{side:g}' for side in box)})"
