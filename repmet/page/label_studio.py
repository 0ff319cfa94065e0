"""Label Studio's words: which label a project draws boxes by, its regions as boxes in pixels, and boxes as its regions.

A region's sides are percentages of the upright image; it may be turned around its upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as xml

from repmet.errors import UserError
from repmet.label_studio_region import region
from repmet.page.marks import Box

LONGEST_CONFIG = 200_000  # letters


@dataclass(frozen=True)
class Interface:
    """The part of a labelling interface that draws boxes on an image.

    Attributes:
        from_name: of the tag RectangleLabels.
        to_name: of the tag Image.
        key: of the image's address in a task's data.
        labels: the classes that can be drawn.
    """

    from_name: str
    to_name: str
    key: str
    labels: tuple[str, ...]


def read_interface(config: object) -> Interface:
    """Of a project's labelling interface.

    Args:
        config: its XML.

    Raises:
        ValueError: it is no XML, or draws no labelled boxes on an image.
    """
    if not isinstance(config, str) or len(config) > LONGEST_CONFIG or "<!" in config.replace("<!--", ""):
        raise UserError("the labelling interface is no XML of a sensible size without declarations")
    try:
        root = xml.fromstring(config)
    except xml.ParseError as error:
        raise UserError(f"the labelling interface is no XML ({error})") from None
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    for tag in root.iter("RectangleLabels"):
        to_name = tag.get("toName", "")
        if to_name in images and images[to_name].startswith("$"):
            labels = tuple(value for label in tag.iter("Label") if (value := label.get("value")))
            return Interface(tag.get("name", ""), to_name, images[to_name][1:], labels)
    raise UserError(
        "the labelling interface draws no boxes: it needs RectangleLabels on an Image, as `labels.xml` of an export"
    )


def regions(rows: Iterable[tuple[Box, str, float]], interface: Interface, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Boxes with class and score as the result of a prediction.

    Args:
        size: width and height of the image.
    """
    tags = interface.from_name, interface.to_name
    return [region(number, box, name, score, size, *tags) for number, (box, name, score) in enumerate(rows)]


def boxes(result: object, size: tuple[int, int]) -> list[tuple[Box, str]]:
    """The boxes of an annotation, with their classes; regions of other kinds are passed over.

    Args:
        result: of the annotation, a list of regions.
        size: width and height of the image.

    Raises:
        ValueError: it is no list of regions.
    """
    if not isinstance(result, Sequence) or isinstance(result, str):
        raise UserError("an annotation's result is a list of regions")
    read = []
    for part in result:
        if not isinstance(part, Mapping) or part.get("type") != "rectanglelabels":
            continue
        value: Any = part.get("value")
        try:
            (name, *_) = value["rectanglelabels"]
            sides = [float(value[side]) for side in ("x", "y", "width", "height")]
            turn = float(value.get("rotation") or 0)
        except (KeyError, TypeError, ValueError):
            raise UserError(f"a part is no labelled rectangle: {value!r:.120}") from None
        if not isinstance(name, str) or not all(map(math.isfinite, [*sides, turn])):
            raise UserError(f"a part is no labelled rectangle: {value!r:.120}")
        read.append((_around(sides, turn, size), name))
    return read


def _around(sides: Sequence[float], turn: float, size: tuple[int, int]) -> Box:
    """The upright box around a rectangle that is turned clockwise around its upper left corner, in degrees."""
    width, height = size
    x, y, w, h = (side * length / 100 for side, length in zip(sides, (width, height, width, height), strict=True))
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    corners = [(x + a * cos - b * sin, y + a * sin + b * cos) for a in (0, w) for b in (0, h)]
    return min(c[0] for c in corners), min(c[1] for c in corners), max(c[0] for c in corners), max(c[1] for c in corners)
