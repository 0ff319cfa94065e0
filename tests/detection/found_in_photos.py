"""Detections in three pictures with names of many kinds, one without a find: what the exports are tested on."""

from pathlib import Path

import numpy as np
from PIL import Image

from repmet import Detections
from repmet.data.readers.image_inputs import image_inputs

CLASSES = ("nut & bolt", "ねじ größe")
BOXES = {"a.png": [(10, 20, 60, 80), (100.5, 30.25, 150, 70)], "sub/b c.png": [], "sub/größe ねじ.png": [(0, 0, 200, 100)]}


def found_in_photos(folder: Path) -> list[Detections]:
    """Writes the pictures too."""
    results = []
    for number, (name, boxes) in enumerate(BOXES.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100), (9 * number, 90, 90)).save(path)
        (image,) = image_inputs(path)
        values = {
            "boxes": boxes,
            "scores": [0.9, 0.5][: len(boxes)],
            "labels": [1, 0][: len(boxes)],
            "nearest": [-1] * len(boxes),
        }
        arrays = {key: np.array(value) for key, value in values.items()}
        results.append(Detections(**arrays, classes=CLASSES, image=image, size=(200, 100)))
    return results
