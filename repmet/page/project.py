"""A project folder: everything that was drawn, on disk before the next thing is drawn; one page at a time.

    marks.json      COCO: accepted and rejected boxes, each with its `state`; written whole with every change
    finds.json      COCO: what the detector found beside them, `state` "found"; written when the images have been looked at
    classes.repmet  what the detector has learnt, for `repmet detect --support`
    exports/        what was handed to other tools
    .lock           held while a page is open

File names in the JSON files are relative to the folder that the project folder lies in, so that both can be moved together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repmet.errors import UserError
from repmet.files import write_text
from repmet.page.marks import Box, Mark, State
from repmet.page.project_folder import ProjectFolder

FORMAT = "repmet-page-1"
CLASSES, FINDS = "classes.repmet", "finds.json"
Size = tuple[int, int]


class Project(ProjectFolder[State]):
    """The marks of a project, on disk and in memory; see `ProjectFolder`."""

    main, others = "marks.json", (CLASSES, FINDS)

    def __init__(self, folder: str | Path) -> None:
        self.sizes: dict[str, Size] = {}  # of every image that was marked or looked at
        self.seen: set[str] = set()  # images that somebody has gone through
        self._next = 1
        super().__init__(folder, State())

    @property
    def marks_file(self) -> Path:
        return self.folder / self.main

    @property
    def classes_file(self) -> Path:
        return self.folder / CLASSES

    def new_number(self) -> int:
        """For the next mark."""
        self._next += 1
        return self._next - 1

    def look_through(self, name: str) -> None:
        """Notes that somebody has gone through an image."""
        if name not in self.seen:
            self.seen.add(name)
            self._write(self.state)

    def write_finds(self, finds: Mapping[str, Iterable[tuple[Box, str, float]]]) -> None:
        """Keeps what was found: by image the box, the class and the score of each."""
        rows = [
            (image, box, name, {"state": "found", "score": round(score, 5)})
            for image, image_finds in finds.items()
            for box, name, score in image_finds
        ]
        if not self.marks_file.exists():  # by which the folder is known as a project
            self._write(self.state)
        write_text(self.folder / FINDS, json.dumps(self._coco(self.state.classes, rows), ensure_ascii=False) + "\n")

    def _write(self, state: State) -> None:
        rows = [
            (
                mark.image,
                mark.box,
                mark.name,
                {"id": mark.number, "state": mark.verdict, "source": mark.source}
                | ({} if mark.score is None else {"score": round(mark.score, 5)}),
            )
            for mark in state.marks
        ]
        content = self._coco(state.classes, rows)
        content["info"] |= {"next_mark": self._next, "thresholds": dict(state.thresholds)}
        write_text(self.marks_file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")

    def _coco(self, classes: tuple[str, ...], rows: list[tuple[str, Box, str, dict[str, Any]]]) -> dict[str, Any]:
        names = sorted({image for image, *_ in rows} | self.seen)
        number = {image: i for i, image in enumerate(names, start=1)}
        category = {name: i for i, name in enumerate(classes, start=1)}
        images = []
        for image in names:
            width, height = self.sizes.get(image, (0, 0))
            images.append(
                {"id": number[image], "file_name": image, "width": width, "height": height, "seen": image in self.seen}
            )
        annotations = []
        for count, (image, box, name, more) in enumerate(rows, start=1):
            if name not in category:
                continue  # found before its class was taken away
            x, y, w, h = (round(side, 2) for side in (box[0], box[1], box[2] - box[0], box[3] - box[1]))
            annotation = {"id": count, "image_id": number[image], "category_id": category[name], "bbox": [x, y, w, h]}
            annotations.append(annotation | {"area": round(w * h, 2), "iscrowd": 0} | more)
        categories = [{"id": i, "name": name} for name, i in category.items()]
        info = {"description": "marks of `repmet page`: see each annotation's state", "format": FORMAT}
        return {"info": info, "images": images, "annotations": annotations, "categories": categories}

    def _read(self) -> None:
        if not self.marks_file.exists():
            return
        try:
            content = json.loads(self.marks_file.read_text(encoding="utf-8"))
            if content["info"]["format"] != FORMAT:
                raise UserError(
                    f"{self.marks_file}: of another format, {content['info']['format']!r}; this page reads {FORMAT!r}"
                )
            names = {row["id"]: row["file_name"] for row in content["images"]}
            self.sizes = {row["file_name"]: (int(row["width"]), int(row["height"])) for row in content["images"]}
            self.seen = {row["file_name"] for row in content["images"] if row.get("seen")}
            category = {row["id"]: row["name"] for row in content["categories"]}
            marks = []
            for row in content["annotations"]:
                x, y, w, h = map(float, row["bbox"])
                box = (x, y, round(x + w, 2), round(y + h, 2))
                image, name = names[row["image_id"]], category[row["category_id"]]
                marks.append(Mark(row["id"], image, box, name, row["state"], row["source"], row.get("score")))
            self.state = State(tuple(category.values()), tuple(marks), content["info"]["thresholds"])
            self._next = int(content["info"]["next_mark"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{self.marks_file}: cannot be read ({type(error).__name__}: {error}); repair it, or name another --project"
            ) from None
