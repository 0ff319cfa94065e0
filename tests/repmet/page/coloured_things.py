"""Scenes of coloured things, and a detector that tells them apart by their colour: quick, and without weights.

Run as a program it serves a page: `python coloured_things.py FOLDER PROJECT [PORT]`.
"""

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

RED, PINK, BLUE, GREEN = (200, 40, 40), (230, 120, 130), (40, 80, 200), (40, 150, 70)
GROUND = (222, 220, 214)


def scene(path: Path, things: list[tuple[tuple[int, int, int], tuple[int, int, int, int]]], size=(320, 240)) -> Path:
    """A picture of ellipses: colours and boxes."""
    picture = Image.new("RGB", size, GROUND)
    for colour, (x1, y1, x2, y2) in things:
        ImageDraw.Draw(picture).ellipse((x1, y1, x2 - 1, y2 - 1), fill=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def lay_out(folder: Path, count: int = 4) -> Path:
    """A folder of scenes; each has two red things, a blue one and, in every second, a pink one."""
    for n in range(count):
        things = [(RED, (20, 30 + n % 5, 70, 80 + n % 5)), (RED, (120, 130, 180, 190)), (BLUE, (220, 40, 280, 90))]
        scene(folder / f"scene_{n:04d}.png", things + ([(PINK, (230, 150, 290, 200))] if n % 2 else []))
    return folder


@dataclass(frozen=True)
class Found:
    boxes: np.ndarray
    names: list[str]
    scores: np.ndarray

    def __getitem__(self, rows):
        return Found(self.boxes[rows], self.names[rows], self.scores[rows])


@dataclass(frozen=True)
class _Learnt:
    accepted: tuple[tuple[str, np.ndarray], ...] = ()
    rejected: tuple[tuple[str, np.ndarray], ...] = ()
    classes: tuple[str, ...] = ()


class ColourDetector:
    """Things are what differs from the ground; p falls with the distance of their colour to the nearest accepted one."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds  # that embedding takes
        self.calls: list[str] = []
        self._learnt, self._past, self._embedded = _Learnt(), [], {}

    @property
    def classes(self):
        return self._learnt.classes

    @property
    def thresholds(self):
        return dict.fromkeys(self.classes, 0.5)

    def learn(self, marks):
        self.calls.append("learn")
        self._past.clear()
        self._learnt = _Learnt()
        for name, pairs in marks.items():
            for image, box in pairs:
                self._learnt = self._with(image, box, name)
        return self

    def accept(self, image, box, name):
        self.calls.append("accept")
        self._past.append(self._learnt)
        self._learnt = self._with(image, box, name)

    def reject(self, image, box, name):
        self.calls.append("reject")
        self._past.append(self._learnt)
        rejected = (*self._learnt.rejected, (name, self._colour(image, box)))
        self._learnt = replace(self._learnt, rejected=rejected)

    def undo(self):
        self.calls.append("undo")
        self._learnt = self._past.pop()

    def save(self, path):
        rows = [f"{name} {' '.join(map(str, colour))}" for name, colour in self._learnt.accepted]
        Path(path).write_text("\n".join(rows))

    def load(self, path):
        self.calls.append("load")
        self._past.clear()
        rows = [line.rsplit(" ", 3) for line in Path(path).read_text().splitlines()]
        accepted = tuple((name, np.array(values, float)) for name, *values in rows)
        self._learnt = _Learnt(accepted, (), tuple(dict.fromkeys(name for name, _ in accepted)))
        return self

    def embed(self, images):
        for image in images:
            if image in self._embedded:
                continue
            time.sleep(self.seconds)
            file = os.stat(image).st_ino  # two names of one file are looked at once
            if file not in self._embedded:
                pixels = np.asarray(Image.open(image).convert("RGB"), float)
                labels, _ = ndimage.label(np.abs(pixels - GROUND).sum(-1) > 60)
                things = []
                for k, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
                    box = (columns.start, rows.start, columns.stop, rows.stop)
                    things.append((box, pixels[labels == k].mean(0)))
                self._embedded[file] = things
            self._embedded[image] = self._embedded[file]

    def detect(self, images, *, min_score=0.0):
        self.embed([images])
        rows = []
        for box, colour in self._embedded[images]:
            for name in self.classes:
                near = self._nearest(self._learnt.accepted, name, colour)
                p = np.exp(-((near / 150) ** 2))
                if self._nearest(self._learnt.rejected, name, colour) < near + 1:
                    p *= 0.1
                if p >= min_score:
                    rows.append((p, box, name))
        rows.sort(key=lambda row: -row[0])
        boxes = np.array([box for _, box, _ in rows], np.float32).reshape(-1, 4)
        return Found(boxes, [name for *_, name in rows], np.array([p for p, *_ in rows], np.float32))

    def _with(self, image, box, name):
        new = () if name in self.classes else (name,)
        accepted = (*self._learnt.accepted, (name, self._colour(image, box)))
        return replace(self._learnt, accepted=accepted, classes=self.classes + new)

    def _colour(self, image, box):
        x1, y1, x2, y2 = box
        pixels = np.asarray(Image.open(image).convert("RGB"), float)
        return pixels[round((y1 + y2) / 2), round((x1 + x2) / 2)]

    @staticmethod
    def _nearest(marks, name, colour):
        return min((float(np.linalg.norm(colour - other)) for marked, other in marks if marked == name), default=np.inf)


def main(folder: str, project: str, port: str = "0") -> None:
    from repmet.page.gallery import Gallery
    from repmet.page.project import Project
    from repmet.page.server import bound, serve
    from repmet.page.session import Session
    from repmet.page.teacher import Teacher

    session = Session(Gallery([folder], Path(project)), Project(project), lambda: Teacher(ColourDetector()))
    try:
        serve(session, bound("127.0.0.1", int(port)), host="127.0.0.1", browser=False)
    finally:
        session.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
