"""What was marked and found, handed to other tools: through `repmet.export`, which knows their formats."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from repmet.errors import UserError
from repmet.files import ImageInput
from repmet.page.session import Session

if TYPE_CHECKING:
    from repmet import Detections, Exported

FORMATS = {
    "coco": "COCO",
    "yolo": "YOLO",
    "voc": "Pascal VOC",
    "labelstudio": "Label Studio, pre-annotations",
    "cvat": "CVAT for images 1.1",
    "csv": "a table (CSV)",
}


def export(session: Session, kind: str, *, everything: bool, images: bool = False) -> Exported:
    """Writes a data set into a new folder of the project's `exports`.

    Args:
        kind: one of `FORMATS`.
        everything: also the finds from their thresholds on, with their scores; else what was drawn and accepted alone.
        images: with a copy of the images.

    Raises:
        ValueError: nothing was marked or found.
        OSError: the disk is full.
    """
    from repmet import export as write

    results = detections(session, everything=everything)
    if not sum(map(len, results)):
        raise UserError("there is nothing to export yet: draw or accept a box first")
    folder = session.project.folder / "exports" / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    return write(results, folder, kind, images=images)


def detections(session: Session, *, everything: bool) -> list[Detections]:
    """Of every image that was marked or gone through, or with `everything` of every image that was looked at."""
    from repmet import Detections

    classes, results = session.state.classes, []
    for number, name in enumerate(session.names):
        if number in session.finder.unreadable:
            continue
        marks = [mark for mark in session.state.of_image(name) if mark.verdict == "accepted"]
        rows = [(mark.box, mark.name, 1.0) for mark in marks]
        if everything:
            finds = session.finds(number)
            rows += [(find.box, find.name, find.score) for find in finds if find.score >= session.threshold(find.name)]
        elif not marks and name not in session.project.seen:
            continue  # nobody has said that nothing is there
        path = session.gallery.pictures[number].path
        results.append(
            Detections(
                boxes=np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
                scores=np.array([score for *_, score in rows], np.float32),
                labels=np.array([classes.index(label) for _, label, _ in rows], np.int64),
                classes=classes,
                image=ImageInput(str(path), path),
                size=session.size(number),
                nearest=np.full(len(rows), -1),
            )
        )
    return results
