"""Looks at the images in the background: learns what was marked, then finds, on the screen's image before all others.

One thread owns the detector. What it is asked to do next is decided anew before every image, so that a mark is learnt and
the image on the screen is looked at again before the thread goes on with the others.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repmet.errors import UserError, one_line
from repmet.page.finds import FLOOR, KEPT, Find
from repmet.page.gallery import Gallery
from repmet.page.teacher import Lesson, Teacher

Told = Callable[[str, int | None], None]  # what has happened, and to which image
NICE = 5  # the page itself is served first
HOLD = 3.0  # seconds for which nothing new is begun in the background while a hand is drawing


@dataclass(frozen=True)
class Progress:
    """How far the looking has come.

    Attributes:
        embedded: images that went through the network, of `total`.
        looked: images whose finds are those of the present marks.
        seconds: until all are embedded, as far as one can tell; None before one can.
    """

    embedded: int
    looked: int
    total: int
    seconds: float | None


class Finder:
    """Keeps the finds of all images up to date.

    Args:
        gallery: the images.
        open_teacher: opens the detector; in the background, as that takes seconds.
        tell: is called from the thread: `ready`, `taught`, `finds` with an image's number, `unreadable` with one, `failed`,
            `rest` when there is nothing left to do.
        saved: where what was learnt is kept after every change.
    """

    def __init__(self, gallery: Gallery, open_teacher: Callable[[], Teacher], tell: Told, saved: Path) -> None:
        self.gallery, self.tell, self.saved = gallery, tell, saved
        self.finds: dict[int, list[Find]] = {}  # of the present or an earlier generation
        self.unreadable: dict[int, str] = {}
        self.thresholds: dict[str, float] = {}
        self.problem: str | None = None  # why nothing can be found, or what the last marks could not teach
        self.known: tuple[str, ...] = ()  # classes of the file that the detector was opened with
        self.ready = False
        self._open = open_teacher
        self._embedded: set[int] = set()
        self._done: dict[int, int] = {}  # by image the generation of its finds
        self._generation = 0
        self._taught = self._kept = self._rested = 0
        self._lessons: Sequence[Lesson] = ()
        self._current = 0
        self._held = 0.0  # until when
        self._pace: float | None = None  # seconds an image
        self._order = list(spread(len(gallery)))
        self._changed = threading.Condition()
        self._ended = False
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="finder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Waits for the image that is being looked at."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """The marks have changed; returns at once."""
        with self._changed:
            self._lessons = tuple(lessons)
            self._generation += 1
            self._held = 0.0
            self._changed.notify_all()

    def look_first(self, number: int) -> None:
        """An image has come on the screen; it and the next are looked at before the others."""
        with self._changed:
            self._current = number
            self._changed.notify_all()

    def hold(self) -> None:
        """A hand is at work: nothing is begun now that what it does would have to wait for."""
        self._held = time.monotonic() + HOLD

    def fresh(self, number: int) -> bool:
        """Whether the finds of an image are those of the present marks."""
        return self._done.get(number) == self._generation

    def has_learnt(self) -> bool:
        """Whether there is a class to look for."""
        return self.ready and self._teacher.ready

    def progress(self) -> Progress:
        total = len(self.gallery) - len(self.unreadable)
        generation = self._generation
        looked = sum(done == generation for done in list(self._done.values()))
        left = total - len(self._embedded)
        return Progress(len(self._embedded), looked, total, None if self._pace is None else self._pace * left)

    def wait(self, seconds: float) -> bool:
        """Until there is nothing left to do; False where that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy and self._next() is None and self.ready, seconds)

    # --- the thread ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            self._teacher = self._open()
            self.thresholds = dict(self._teacher.detector.thresholds) if self._teacher.ready else {}
        except (UserError, OSError, ImportError) as error:
            self.problem = one_line(error)
            self.tell("failed", None)
            return
        self.known, self.ready = self._teacher.known, True
        self.tell("ready", None)
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._ended and self._next() is None:
                    self._changed.wait(HOLD / 4 if self._held else None)
                if self._ended:
                    return
                work, self._busy = self._next(), True
                if time.monotonic() >= self._held:
                    self._held = 0.0
            try:
                if work == "teach":
                    self._teach()
                elif work == "save":
                    self._save()
                elif work == "rest":
                    self._rested = self._generation
                    self.tell("rest", None)
                elif isinstance(work, int):
                    self._look(work)
            except Exception as error:  # a defect in one image must not end the looking at the others
                logging.getLogger(__name__).exception("looking at an image failed")
                self.problem = f"{type(error).__name__}: {one_line(error)}"
                if isinstance(work, int):
                    self.unreadable[work] = self.problem
                elif work == "teach":
                    self._taught = self._generation
                self.tell("failed", None)

    def _next(self) -> int | str | None:
        if not self.ready:
            return None
        if self._taught != self._generation:
            return "teach"
        if not self._is_done(self._current):
            return self._current
        if time.monotonic() < self._held:
            return None
        if self._kept != self._taught:
            return "save"
        for number in (self._current + 1, self._current - 1, *self._order):
            if 0 <= number < len(self.gallery) and not self._is_done(number):
                return number
        return None if self._rested == self._generation else "rest"

    def _is_done(self, number: int) -> bool:
        if number in self.unreadable:
            return True
        return self.fresh(number) if self._teacher.ready else number in self._embedded

    def _save(self) -> None:
        self._kept = self._taught  # also where it fails: the next change tries again
        if self._teacher.ready:
            self._teacher.detector.save(self.saved)

    def _teach(self) -> None:
        with self._changed:
            generation, lessons = self._generation, self._lessons
        try:
            self._teacher.teach(lessons)
            self.problem = None
        except (UserError, OSError) as error:
            self.problem = one_line(error)
        self._taught = generation
        if self._teacher.ready:
            self.thresholds = dict(self._teacher.detector.thresholds)
            self._promising_first()
        else:
            self.thresholds = {}
            self.finds.clear()
        self.tell("taught", None)

    def _promising_first(self) -> None:
        """What is embedded comes first, as it costs arithmetic alone; of it, what promised most before."""

        def rank(number: int) -> tuple[bool, float]:
            finds = self.finds.get(number, ())
            return number not in self._embedded, -max((find.score for find in finds), default=0.0)

        self._order = sorted(spread(len(self.gallery)), key=rank)

    def _look(self, number: int) -> None:
        generation, began = self._taught, time.monotonic()
        path = self.gallery.pictures[number].path
        try:
            self.gallery.size(number)  # refuses what is too large to be opened
            detector = self._teacher.detector
            if self._teacher.ready:
                detections = detector.detect(str(path), min_score=FLOOR)[:KEPT]
                rows = zip(detections.boxes.tolist(), detections.names, detections.scores.tolist(), strict=True)
                self.finds[number] = [Find(tuple(box), name, score) for box, name, score in rows]
                self._done[number] = generation
            else:
                detector.embed([str(path)])
        except (UserError, OSError) as error:
            self.unreadable[number] = one_line(error)
            self.tell("unreadable", number)
            return
        if number not in self._embedded:
            self._embedded.add(number)
            taken = time.monotonic() - began
            self._pace = taken if self._pace is None else 0.9 * self._pace + 0.1 * taken
        self.tell("finds", number)


def spread(count: int) -> Iterator[int]:
    """The numbers below `count`, early ones far from each other (van der Corput's order): neighbours are often alike."""
    bits = max(count - 1, 1).bit_length()
    for k in range(1 << bits):
        number = int(f"{k:0{bits}b}"[::-1], 2)
        if number < count:
            yield number
