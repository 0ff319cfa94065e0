"""What a person has said of boxes: marks, and the state of a project that is made of them. Plain values that never change.

A box is x1, y1, x2, y2 in pixels of the upright image, from its upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from repmet.errors import UserError

Box = tuple[float, float, float, float]
Verdict = Literal["accepted", "rejected"]
Source = Literal["drawn", "found"]
SMALLEST = 2.0  # pixels, of a box's side: what the detector can be shown
LONGEST_NAME = 100  # letters


@dataclass(frozen=True)
class Mark:
    """A box that somebody has decided on.

    Attributes:
        number: of this mark among all of the project, from 1; never used again.
        image: the name of its image in the project.
        name: its class.
        verdict: `accepted`, an example of the class; `rejected`, an example of what the class is not.
        source: `drawn` by hand, or `found` by the detector.
        score: what the detector gave it when it was found.
    """

    number: int
    image: str
    box: Box
    name: str
    verdict: Verdict = "accepted"
    source: Source = "drawn"
    score: float | None = None


@dataclass(frozen=True)
class State:
    """All that one step back restores.

    Attributes:
        classes: names in the order of their digits on the keyboard.
        marks: in the order in which they were made.
        thresholds: by class, where somebody moved the slider; the others follow the detector's own.
    """

    classes: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def mark(self, number: int) -> Mark:
        """Raises ValueError where there is no such mark."""
        for mark in self.marks:
            if mark.number == number:
                return mark
        raise UserError(f"there is no mark {number}; it may have been taken back")

    def of_image(self, image: str) -> list[Mark]:
        return [mark for mark in self.marks if mark.image == image]

    def of_class(self, name: str, verdict: Verdict = "accepted") -> list[Mark]:
        return [mark for mark in self.marks if mark.name == name and mark.verdict == verdict]

    def with_class(self, name: str) -> State:
        """The class is there afterwards, as the last one where it is new."""
        name = checked_name(name)
        return self if name in self.classes else replace(self, classes=(*self.classes, name))

    def with_mark(self, mark: Mark) -> State:
        return replace(self.with_class(mark.name), marks=(*self.marks, mark))

    def with_changed(self, mark: Mark) -> State:
        """The mark takes the place of the one that has its number."""
        self.mark(mark.number)
        changed = tuple(mark if old.number == mark.number else old for old in self.marks)
        return replace(self.with_class(mark.name), marks=changed)

    def without_mark(self, number: int) -> State:
        self.mark(number)
        return replace(self, marks=tuple(mark for mark in self.marks if mark.number != number))

    def with_threshold(self, name: str, value: float | None) -> State:
        """None: follow the detector's own again."""
        self._known(name)
        others = {key: old for key, old in self.thresholds.items() if key != name}
        if value is None:
            return replace(self, thresholds=others)
        if not 0 <= value <= 1:
            raise UserError(f"a threshold is in [0, 1], not {value}")
        return replace(self, thresholds={**others, name: float(value)})

    def renamed(self, old: str, new: str) -> State:
        """Raises ValueError for a class that is not there, a name that is taken, or no name."""
        self._known(old)
        new = checked_name(new)
        if new == old:
            return self
        if new in self.classes:
            raise UserError(f"there is a class {new!r} already; move the examples of {old!r} there instead")
        return State(
            classes=tuple(new if name == old else name for name in self.classes),
            marks=tuple(replace(mark, name=new) if mark.name == old else mark for mark in self.marks),
            thresholds={new if name == old else name: value for name, value in self.thresholds.items()},
        )

    def without_class(self, name: str) -> State:
        """With the class all its marks go."""
        self._known(name)
        return State(
            classes=tuple(old for old in self.classes if old != name),
            marks=tuple(mark for mark in self.marks if mark.name != name),
            thresholds={old: value for old, value in self.thresholds.items() if old != name},
        )

    def _known(self, name: str) -> None:
        if name not in self.classes:
            raise UserError(f"there is no class {name!r}; there are: {', '.join(self.classes) or 'none'}")


def checked_name(name: str) -> str:
    """A class's name as it is kept: on one line, without blanks around it."""
    kept = " ".join(name.split())
    if not kept or not kept.isprintable():
        raise UserError("a class needs a name of letters that can be seen")
    if len(kept) > LONGEST_NAME:
        raise UserError(f"a class's name has at most {LONGEST_NAME} letters, this one has {len(kept)}")
    return kept


def checked_box(box: Sequence[float], size: tuple[int, int]) -> Box:
    """A box in order and inside of its image, in hundredths of a pixel.

    Raises:
        ValueError: it is no box, or too small to show anything.
    """
    if len(box) != 4 or not all(isinstance(side, int | float) and math.isfinite(side) for side in box):
        raise UserError(f"a box is four numbers x1, y1, x2, y2 in pixels, not {list(box)!r:.80}")
    width, height = size
    x1, x2 = sorted(min(max(float(x), 0.0), width) for x in (box[0], box[2]))
    y1, y2 = sorted(min(max(float(y), 0.0), height) for y in (box[1], box[3]))
    if x2 - x1 < SMALLEST or y2 - y1 < SMALLEST:
        raise UserError(f"the box is smaller than {SMALLEST:g} pixels inside of the image: draw it larger")
    return cast(Box, tuple(round(side, 2) for side in (x1, y1, x2, y2)))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)
