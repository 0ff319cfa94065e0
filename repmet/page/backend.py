"""A detector behind a labelling tool: it proposes boxes, and learns from what people draw there.

What is drawn is kept in a project folder as that of a page, `marks.json`, before the tool has its answer; `sources.json`
says which marks come from which annotation, so that a changed or deleted one changes or takes away its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from repmet.errors import UserError
from repmet.files import image_size, write_text
from repmet.page.finds import SAME
from repmet.page.label_studio import Interface, boxes, regions
from repmet.page.marks import Box, Mark, State, checked_box, checked_name, overlap
from repmet.page.project import Project
from repmet.page.task_images import TaskImages
from repmet.page.teacher import Teacher, lessons_of

REMEMBERED = 1000  # images of which is known what was proposed


class Backend:
    """Answers a labelling tool. Its methods may be called from several threads.

    Args:
        project: open; keeps the marks.
        teacher: the detector; it is nobody else's.
        images: leads from a task's address to a file.
    """

    def __init__(self, project: Project, teacher: Teacher, images: TaskImages) -> None:
        self.project, self.teacher, self.images = project, teacher, images
        self._lock = threading.RLock()
        self._sources: dict[str, list[int]] = _read_sources(self._sources_file)
        self._proposed: dict[str, list[tuple[Box, str, float]]] = {}
        self._learn()

    @property
    def _sources_file(self) -> Path:
        return self.project.folder / "sources.json"

    @property
    def version(self) -> str:
        """Of what was learnt: the tool asks for proposals again where it has those of another version."""
        rows = sorted(f"{m.image} {m.box} {m.name} {m.verdict}" for m in self.project.state.marks)
        return f"repmet {sha256(chr(10).join(rows).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"

    def predict(self, address: object, interface: Interface) -> dict[str, Any]:
        """Proposals for an image, as a prediction of Label Studio: of classes that the interface can draw.

        Raises:
            ValueError, ConnectionError: the image cannot be had.
        """
        path = self.images.file(address)
        with self._lock:
            rows = self._found(path) if self.teacher.ready else []
        shown = [row for row in rows if row[1] in interface.labels]
        score = sum(score for *_, score in shown) / len(shown) if shown else 0.0
        return {"result": regions(shown, interface, image_size(path)), "score": score, "model_version": self.version}

    def annotate(self, annotation: Mapping[str, Any], address: object) -> int:
        """Takes an annotation that was made or changed: its boxes are the examples that it gives, instead of those before.

        Where it was made from a proposal, a box that was proposed and is not there any more was rejected.

        Returns:
            How many boxes it has.

        Raises:
            ValueError, ConnectionError: it cannot be read, or the image cannot be had; nothing has changed then.
        """
        path = self.images.file(address)
        number, size, name = _number(annotation), image_size(path), self.project.name_of(path)
        drawn = boxes(annotation.get("result"), size)
        with self._lock:
            rows: list[tuple[Box, str, str, str]] = []
            for box, label in drawn:
                rows.append((checked_box(box, size), checked_name(label), "accepted", "drawn"))
            if annotation.get("parent_prediction") is not None:
                for box, label, _ in self._proposed.get(name, ()):
                    if not any(label == other and overlap(box, sides) >= SAME for sides, other in drawn):
                        rows.append((checked_box(box, size), label, "rejected", "found"))
            self.project.sizes[name] = size
            new = [
                Mark(self.project.new_number(), name, box, label, verdict, source)  # type: ignore[arg-type]
                for box, label, verdict, source in rows
            ]
            self._replace(number, new)
        return len(drawn)

    def forget(self, numbers: Sequence[object]) -> None:
        """Annotations were deleted."""
        with self._lock:
            for number in numbers:
                self._replace(str(number), [])

    def _replace(self, annotation: str, marks: Sequence[Mark]) -> None:
        before = set(self._sources.get(annotation, ()))
        state = self.project.state
        state = replace(state, marks=tuple(mark for mark in state.marks if mark.number not in before))
        for mark in marks:
            state = state.with_mark(mark)
        sources = {**self._sources, annotation: [*before, *(mark.number for mark in marks)]}
        _write_sources(self._sources_file, sources)  # who is killed between the two has named marks that are not there
        self.project.change(state)
        self._sources = {**self._sources, annotation: [mark.number for mark in marks]}
        if not marks:
            del self._sources[annotation]
        _write_sources(self._sources_file, self._sources)
        self._learn()

    def _learn(self) -> None:
        self.teacher.teach(lessons_of(self.project.state, _paths(self.project.state, self.project.folder.parent)))
        if self.teacher.ready:
            self.teacher.detector.save(self.project.classes_file)

    def _found(self, path: Path) -> list[tuple[Box, str, float]]:
        thresholds = self.teacher.detector.thresholds
        detections = self.teacher.detector.detect(str(path), min_score=min(thresholds.values()))
        rows: list[tuple[Box, str, float]] = [
            ((x1, y1, x2, y2), name, score)
            for (x1, y1, x2, y2), name, score in zip(
                detections.boxes.tolist(), detections.names, detections.scores.tolist(), strict=True
            )
            if score >= thresholds[name]
        ]
        self._proposed[self.project.name_of(path)] = rows
        while len(self._proposed) > REMEMBERED:
            del self._proposed[next(iter(self._proposed))]
        return rows


def _paths(state: State, above: Path) -> dict[str, Path]:
    return {name: above / name for name in {mark.image for mark in state.marks}}


def _number(annotation: Mapping[str, Any]) -> str:
    number = annotation.get("id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise UserError("an annotation has a number, `id`")
    return str(number)


def _read_sources(path: Path) -> dict[str, list[int]]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(annotation): [int(number) for number in numbers] for annotation, numbers in content.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); repair it, or name another --project") from None


def _write_sources(path: Path, sources: Mapping[str, Sequence[int]]) -> None:
    write_text(path, json.dumps(sources) + "\n")
