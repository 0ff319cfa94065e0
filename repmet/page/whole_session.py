"""What a person can do on the wall of images. Plain Python, no browser: images are embedded in the background and sorted.

Shapes: n images, N classes, e embedding dimensions.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from repmet.errors import UserError, one_line
from repmet.files import write_text
from repmet.page.gallery import Gallery
from repmet.page.whole_labels import WholeProject

TOGETHER = 16  # images that are embedded before what is seen is sorted again


class Classifier(Protocol):
    """What a wall asks of `repmet.FewShotClassifier`."""

    def embed(self, images: Any) -> Any: ...
    def posterior(self, embeddings: Any, labels: Sequence[str | None]) -> tuple[tuple[str, ...], Any]: ...


Row = tuple[int, float | None, bool]  # an image, the share of its class's probability, whether a person said so


class WholeSession:
    """One wall of images and the classifier that sorts it.

    Args:
        gallery: the images.
        project: open, and closed by `end`.
        open_classifier: opens it; in the background, as that takes seconds.

    Attributes:
        guesses: by image the class that it looks like, and its probability.
        changes: counts what has happened; who shows the wall compares.
    """

    def __init__(self, gallery: Gallery, project: WholeProject, open_classifier: Callable[[], Classifier]) -> None:
        self.gallery, self.project = gallery, project
        self.names = [project.name_of(picture.path) for picture in gallery.pictures]
        self.guesses: dict[int, tuple[str, float]] = {}
        self.unreadable: dict[int, str] = {}
        self.problem: str | None = None
        self.ready = False
        self.changes = 0
        self._open = open_classifier
        self._embeddings: dict[int, Any] = {}  # (e,)
        self._sorted: object = None  # the labels and the number of embeddings that were sorted last
        self._changed = threading.Condition(threading.RLock())
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="sorter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stops, and lets another page open the project."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=20)
        self.project.close()

    # --- what a person can do --------------------------------------------------------------------------------------------

    def assign(self, numbers: Sequence[int], name: str | None) -> None:
        """Says what class images are of; None takes that back.

        Raises:
            ValueError: a number of no image, or a name that is none.
        """
        for number in numbers:
            if not isinstance(number, int) or not 0 <= number < len(self.names):
                raise UserError(f"there is no image {number!r}")
        with self._changed:
            self.project.change(self.project.state.assigned([self.names[number] for number in numbers], name))
            self._tell()

    def accept(self, numbers: Sequence[int]) -> None:
        """Says that images are of the class that they were sorted into."""
        with self._changed:
            labels = self.project.state
            for number in numbers:
                if (guess := self.guesses.get(number)) and self.names[number] not in labels.by_image:
                    labels = labels.assigned([self.names[number]], guess[0])
            self.project.change(labels)
            self._tell()

    def undo(self) -> bool:
        """One step back; False where there is none."""
        with self._changed:
            done = self.project.undo()
            self._tell()
        return done

    # --- what there is to see --------------------------------------------------------------------------------------------

    def sections(self) -> list[tuple[str | None, list[Row]]]:
        """By class its images: those that a person put there, then the others, the surest first; at last those of none."""
        with self._changed:
            labels, guesses = self.project.state, dict(self.guesses)
        rows: dict[str | None, list[Row]] = {name: [] for name in (*labels.classes, None)}
        for number, name in enumerate(self.names):
            if number in self.unreadable:
                continue
            if name in labels.by_image:
                rows[labels.by_image[name]].append((number, None, True))
            elif number in guesses and guesses[number][0] in rows:
                rows[guesses[number][0]].append((number, guesses[number][1], False))
            else:
                rows[None].append((number, None, False))
        for shown in rows.values():
            shown.sort(key=lambda row: (not row[2], -(row[1] or 0.0), row[0]))
        return list(rows.items())

    def progress(self) -> tuple[int, int]:
        """How many images are embedded, of how many that can be."""
        return len(self._embeddings), len(self.names) - len(self.unreadable)

    def export(self) -> Path:
        """Writes `labels.csv`, which `repmet classify --support` takes, and `sorted.csv`, a row for every image.

        Raises:
            ValueError: nothing was said yet.
        """
        labels = self.project.state
        if not labels.by_image:
            raise UserError("there is nothing to export yet: give a class to an image first")
        folder = self.project.folder / "exports" / f"whole-{time.strftime('%Y%m%d-%H%M%S')}"
        above = self.project.folder.parent
        rows = [(str(above / image), name) for image, name in sorted(labels.by_image.items()) if image in self.names]
        write_text(folder / "labels.csv", _table([("image", "class"), *rows]))
        everything: list[tuple[object, ...]] = [("image", "class", "probability", "said")]
        for name, images in self.sections():
            for number, share, said in images:
                probability = "" if share is None else f"{share:.5f}"
                everything.append((self.names[number], name or "", probability, "yes" if said else "no"))
        write_text(folder / "sorted.csv", _table(everything))
        return folder

    def wait(self, seconds: float) -> bool:
        """Until all is embedded and sorted; False where that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ready and not self._left() and self._sorted == self._key(), seconds)

    # --- the thread ------------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        self.changes += 1
        self._changed.notify_all()

    def _left(self) -> list[int]:
        return [n for n in range(len(self.names)) if n not in self._embeddings and n not in self.unreadable]

    def _key(self) -> object:
        return self.project.state, len(self._embeddings)

    def _run(self) -> None:
        try:
            classifier = self._open()
        except (UserError, OSError, ImportError) as error:
            self.problem = one_line(error)
            self._announce()
            return
        self.ready = True
        while True:
            with self._changed:
                while not self._ended and not self._left() and self._sorted == self._key():
                    self._changed.wait()
                if self._ended:
                    return
                stale, left = self._sorted != self._key(), self._left()[:TOGETHER]
            try:
                if stale:
                    self._sort(classifier)
                else:
                    self._embed(classifier, left)
            except Exception as error:  # a defect in one image must not end the sorting of the others
                logging.getLogger(__name__).exception("sorting images failed")
                self.problem = f"{type(error).__name__}: {one_line(error)}"
                self.unreadable |= dict.fromkeys([] if stale else left, self.problem)
                self._sorted = self._key()
            self._announce()

    def _announce(self) -> None:
        with self._changed:
            self._tell()

    def _embed(self, classifier: Classifier, numbers: Sequence[int]) -> None:
        readable = []
        for number in numbers:
            try:
                self.gallery.size(number)  # refuses what is too large to be opened
                readable.append(number)
            except (UserError, OSError) as error:
                self.unreadable[number] = one_line(error)
        paths = [str(self.gallery.pictures[number].path) for number in readable]
        try:
            rows = classifier.embed(paths) if paths else []
        except (UserError, OSError) as error:
            if len(readable) == 1:
                self.unreadable[readable[0]] = one_line(error)
                return
            for number in readable:
                self._embed(classifier, [number])
            return
        self._embeddings |= dict(zip(readable, rows, strict=True))

    def _sort(self, classifier: Classifier) -> None:
        with self._changed:
            key, labels = self._key(), self.project.state
        numbers = list(self._embeddings)
        said = [labels.by_image.get(self.names[number]) for number in numbers]
        guesses: dict[int, tuple[str, float]] = {}
        if any(name is not None for name in said):
            stacked = np.stack([np.asarray(self._embeddings[number]) for number in numbers])  # (n, e)
            classes, probabilities = classifier.posterior(stacked, said)
            best = np.asarray(probabilities).argmax(1)
            guesses = {
                number: (classes[c], float(probabilities[row][c]))
                for row, (number, c) in enumerate(zip(numbers, best.tolist(), strict=True))
            }
        with self._changed:
            self.guesses, self._sorted = guesses, key


def _table(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
