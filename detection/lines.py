"""What was found in an image as a line of JSON, exact: the numbers that are read back are those that were written.

    {"image": "photos/a.jpg", "width": 1280, "height": 720, "detections": [{"class": "nut", "score": 0.91,
     "box": [x1, y1, x2, y2], "nearest": 3}]}

Boxes are in pixels of the upright image; `nearest` numbers the support that is nearest in the embedding, -1 for none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repmet.data.readers.image_inputs import ImageInput
from repmet.detection.results import Detections


def line(found_in: Detections) -> dict[str, Any]:
    """An image's detections as plain values, with the fewest digits that tell their float32 apart."""
    scores, boxes = _shortest(found_in.scores), _shortest(found_in.boxes.ravel())
    rows = [
        {"class": name, "score": score, "box": boxes[4 * k : 4 * k + 4], "nearest": nearest}
        for k, (name, score, nearest) in enumerate(zip(found_in.names, scores, found_in.nearest.tolist(), strict=True))
    ]
    width, height = found_in.size
    return {"image": found_in.image.name, "width": width, "height": height, "detections": rows}


def from_line(image: ImageInput, values: Mapping[str, Any], classes: Sequence[str]) -> Detections:
    """The detections that a line says, of an image in which `classes` were looked for; without pictures."""
    rows, numbers = values["detections"], {name: k for k, name in enumerate(classes)}
    return Detections(
        boxes=np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row["score"] for row in rows], np.float32),
        labels=np.array([numbers[row["class"]] for row in rows], np.int64),
        classes=tuple(classes),
        image=image,
        size=(values["width"], values["height"]),
        nearest=np.array([row["nearest"] for row in rows], np.int64),
    )


def _shortest(values: np.ndarray) -> list[float]:
    return [float(str(value)) for value in values.astype(np.float32)]
