"""What a detector found in one image, as people take it on: to filter, draw, save, and hand to other tools."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repmet.detection.scoring import detections
from repmet.errors import UserError

if TYPE_CHECKING:
    import pandas
    import supervision
    from PIL.Image import Image

    from repmet.data.readers.image_inputs import ImageInput


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections(detections.Detections):
    """Scored boxes of one image, best first.

    `len(result)`, `result[0]`, `result[:5]` and `result[result.scores > 0.5]` work; all but `len` give `Detections`.

    Attributes:
        boxes: (n, 4) float32, x1, y1, x2, y2 in pixels of the upright image from 0.
        scores: (n,) float32, in [0, 1].
        labels: (n,) int64, places in `classes`.
        classes: the names of all classes that were looked for.
        image: what was looked at: its `name`, its `path` where it is a file, and `open()`.
        size: width and height of the image in pixels.
        nearest: (n,) int64, the number of the support that is nearest in the embedding; -1 where none was shown.
        supports: (S, h, w, 3) uint8, the pictures that `nearest` numbers, or None.
        picture: the image itself, where it was not read from a file.
        tracks: (n,) int64, of a frame of a video the number that an object keeps from frame to frame; -1 of a find without a
            track; None where nobody asked (`repmet.track`).
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    image: ImageInput
    size: tuple[int, int]
    nearest: np.ndarray
    supports: np.ndarray | None = field(default=None, repr=False)
    picture: Image | None = field(default=None, repr=False)
    tracks: np.ndarray | None = None

    @property
    def names(self) -> list[str]:
        """The class of each detection."""
        return [self.classes[k] for k in self.labels]

    def filter(self, score: float = 0.0, classes: str | Collection[str] | None = None) -> Detections:
        """Those with at least a score, and of some classes.

        Raises:
            ValueError: a score outside [0, 1], or a class that is none of `self.classes`.
        """
        if not (isinstance(score, Real) and 0 <= score <= 1):
            raise UserError(f"a score is in [0, 1], not {score!r}")
        if classes is None:
            return self.above(score)
        wanted = [classes] if isinstance(classes, str) else list(classes)
        for name in wanted:
            if name not in self.classes:
                raise UserError(f"no class {name!r} was looked for; there are: {', '.join(self.classes)}")
        return self.above(score, [self.classes.index(name) for name in wanted])

    def open(self, *, least: tuple[int, int] | None = None) -> Image:
        """The image, in RGB and upright.

        Args:
            least: width and height that are enough: of a large JPEG a smaller picture, which is read sooner.
        """
        return self.image.open(least=least) if self.picture is None else self.picture

    def plot(self, min_score: float = 0.0) -> Image:
        """The image with boxes, names and scores from `min_score`; below it the support that each box resembles most."""
        from repmet.detection.pictures.found import found_picture

        return found_picture(self, min_score=min_score)

    def save(self, path: str | Path) -> Path:
        """Writes a picture or annotations, as the name's end says: a picture (.png, .jpg, .webp, ...), COCO (.json), YOLO
        (.txt, with scores), VOC (.xml) or a table (.csv). Folders are made; the file appears whole or not at all.

        Raises:
            ValueError: another end, or the image that was looked at, whose place nothing takes.
        """
        from repmet.data.files.atomic import write_atomically, write_text
        from repmet.data.files.pictures import IMAGE_SUFFIXES

        path = Path(path)
        if self.image.path is not None and path.exists() and path.samefile(self.image.path):
            raise UserError(f"{path}: is the image that was looked at; name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            from PIL import Image as pillow

            kind = pillow.registered_extensions()[suffix]
            write_atomically(path, lambda file: self.plot().save(file, format=kind))
        elif suffix == ".json":
            write_text(path, json.dumps(self.to_coco(), indent=1, ensure_ascii=False) + "\n")
        elif suffix == ".txt":
            write_text(path, self.to_yolo(scores=True))
        elif suffix == ".xml":
            write_text(path, self.to_voc())
        elif suffix == ".csv":
            write_text(path, self._csv())
        else:
            raise UserError(f"{path}: detections are saved as a picture, .json (COCO), .txt (YOLO), .xml (VOC) or .csv")
        return path

    def to_coco(self) -> dict[str, Any]:
        """`images`, `annotations` (each with its `score`) and `categories`, as a COCO file has them."""
        from repmet.detection.formats import coco

        return coco([self])

    def to_yolo(self, *, scores: bool = False) -> str:
        """A YOLO label file's text: `class x y width height` a line, centre and size as shares of the image.

        Args:
            scores: with the score at each line's end, as YOLO's own predictions are saved; labels for training have none.
        """
        from repmet.detection.formats import yolo

        return yolo(self, scores=scores)

    def to_voc(self) -> str:
        """A VOC annotation, as XML text: whole pixels, counted from 1, the last one inside the box."""
        from repmet.detection.formats import voc

        return voc(self)

    def to_supervision(self) -> supervision.Detections:
        """`supervision.Detections`, with `class_name` in its data, and `tracker_id` where there are tracks."""
        from repmet.detection.formats import to_supervision

        return to_supervision(self)

    def to_fiftyone(self) -> Any:
        """`fiftyone.Detections`: the value of a field of a sample of this image.

        Raises:
            ImportError: fiftyone is not installed.
        """
        try:
            import fiftyone
        except ModuleNotFoundError:
            raise ImportError("to_fiftyone needs fiftyone: pip install fiftyone") from None
        width, height = self.size
        shown = []
        for number, (_, name, score, x1, y1, x2, y2) in enumerate(self.rows()):
            more = {} if self.tracks is None or self.tracks[number] < 0 else {"index": int(self.tracks[number])}
            sides = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]  # shares of the image
            shown.append(fiftyone.Detection(label=name, bounding_box=sides, confidence=score, **more))
        return fiftyone.Detections(detections=shown)

    def to_dataframe(self) -> pandas.DataFrame:
        """A row a detection: `image`, `class`, `score`, `x1`, `y1`, `x2`, `y2`.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ImportError("to_dataframe needs pandas: pip install pandas") from None
        columns = ["image", "class", "score", "x1", "y1", "x2", "y2"]
        return pandas.DataFrame(self.rows(), columns=columns)

    def rows(self) -> list[tuple[str, str, float, float, float, float, float]]:
        """Plain values of each detection: image, class, score, x1, y1, x2, y2."""
        triples = zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True)
        return [(self.image.name, name, score, *box) for name, score, box in triples]

    def _csv(self) -> str:
        import csv
        import io

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("image", "class", "score", "x1", "y1", "x2", "y2"), *self.rows()])
        return text.getvalue()

    def _rows(self) -> dict[str, np.ndarray]:
        more = {} if self.tracks is None else {"tracks": self.tracks}
        return super()._rows() | {"nearest": self.nearest} | more

    def __repr__(self) -> str:
        counts = {name: self.names.count(name) for name in dict.fromkeys(self.names)}
        return f"<{self.image.name}: {', '.join(f'{n} {name}' for name, n in counts.items()) or 'nothing'}>"
