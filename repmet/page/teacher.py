"""The detector follows the marks: whatever changes in them, afterwards it is as if it had been shown them anew."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from repmet.errors import UserError
from repmet.page.marks import Box, State

FEW = 4  # steps that are taken one by one; more are learnt anew


class Detections(Protocol):
    """What a detector says of an image: see `repmet.Detections`."""

    boxes: Any
    scores: Any

    @property
    def names(self) -> list[str]: ...


class Detector(Protocol):
    """What a page asks of `repmet.FewShotDetector`."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def thresholds(self) -> Mapping[str, float]: ...
    def learn(self, support: Any) -> Any: ...
    def accept(self, image: Any, box: Any, name: str) -> Any: ...
    def reject(self, image: Any, box: Any, name: str) -> Any: ...
    def undo(self) -> Any: ...
    def load(self, path: str | Path) -> Any: ...
    def save(self, path: str | Path) -> None: ...
    def embed(self, images: Any) -> Any: ...
    def detect(self, images: Any, *, min_score: float | None = None) -> Any: ...


@dataclass(frozen=True)
class Lesson:
    """One box that the detector is shown."""

    path: Path
    box: Box
    name: str
    accepted: bool


class Teacher:
    """Keeps a detector's classes in step with the marks.

    Args:
        detector: it is nobody else's.
        saved: a file of classes that it begins with, or None.

    Raises:
        ValueError, FileNotFoundError: the file is not there, or none of this detector.
    """

    def __init__(self, detector: Detector, saved: str | Path | None = None) -> None:
        importlib.import_module("scipy.optimize")  # of calibration: half a second that the first box would wait for
        self.detector, self.saved = detector, saved
        self.known: tuple[str, ...] = ()  # classes of the saved file
        self._together: tuple[Lesson, ...] = ()  # learnt at once; their order does not matter
        self._steps: tuple[Lesson, ...] = ()  # shown one by one after that; the last can be taken back
        if saved is not None:
            detector.load(saved)
            self.known = tuple(detector.classes)

    @property
    def ready(self) -> bool:
        """Whether there is a class to look for."""
        return bool(self.known) or any(lesson.accepted for lesson in (*self._together, *self._steps))

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.detector.classes) if self.ready else ()

    def teach(self, lessons: Sequence[Lesson]) -> bool:
        """Shows the detector what is new and takes back what is gone; whether there was anything.

        Raises:
            ValueError: a lesson cannot be used; those before it are learnt.
        """
        wanted = _usable(lessons, self.known)
        if set(wanted) == {*self._together, *self._steps}:
            return False
        if set(self._together) <= set(wanted) and (self._together or self._steps or self.saved is not None):
            later = [lesson for lesson in wanted if lesson not in set(self._together)]
            common = 0
            for old, new in zip(self._steps, later, strict=False):
                if old != new:
                    break
                common += 1
            if len(self._steps) - common + len(later) - common <= FEW:
                try:
                    for _ in self._steps[common:]:
                        self.detector.undo()
                        self._steps = self._steps[:-1]
                except UserError:  # the detector keeps no step that is so far back
                    self._anew(wanted)
                    return True
                for lesson in later[common:]:
                    self._show(lesson)
                return True
        self._anew(wanted)
        return True

    def _show(self, lesson: Lesson) -> None:
        show = self.detector.accept if lesson.accepted else self.detector.reject
        show(str(lesson.path), lesson.box, lesson.name)
        self._steps = (*self._steps, lesson)

    def _anew(self, wanted: Sequence[Lesson]) -> None:
        """Examples first, then what is to be told apart from them."""
        accepted = tuple(lesson for lesson in wanted if lesson.accepted)
        if self.saved is not None:
            self.detector.load(self.saved)
            self._together, self._steps = (), ()
        elif accepted:
            examples: dict[str, list[tuple[str, Box]]] = {}
            for lesson in accepted:
                examples.setdefault(lesson.name, []).append((str(lesson.path), lesson.box))
            self.detector.learn(examples)
            self._together, self._steps, accepted = accepted, (), ()
        else:
            self._together, self._steps = (), ()  # the detector keeps what nobody asks it for until the next example
        for lesson in (*accepted, *(lesson for lesson in wanted if not lesson.accepted)):
            self._show(lesson)


def _usable(lessons: Sequence[Lesson], known: Sequence[str]) -> list[Lesson]:
    """Each once, of images that are there. A rejection waits until its class has an example to tell it apart from."""
    shown = {lesson.name for lesson in lessons if lesson.accepted} | set(known)
    there = {lesson.path: lesson.path.is_file() for lesson in lessons}
    return [lesson for lesson in dict.fromkeys(lessons) if lesson.name in shown and there[lesson.path]]


def lessons_of(state: State, paths: Mapping[str, Path]) -> list[Lesson]:
    """What the marks of a state teach.

    Args:
        paths: of the images by their names in the project; marks of others wait until these are there again.
    """
    return [
        Lesson(paths[mark.image], mark.box, mark.name, mark.verdict == "accepted")
        for mark in state.marks
        if mark.image in paths
    ]
