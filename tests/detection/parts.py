"""A set of nuts and bolts that are plain to see: every object is proposed, and a class has a direction of its own."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.protocols.own_data import OwnData

CLASSES = ("bolt", "nut")
AXES = F.normalize(torch.eye(8) + 0.05, dim=-1)


def record(name: str, objects: list[tuple[str, list[float]]]) -> ImageRecord:
    boxes = np.array([b for _, b in objects], np.float32).reshape(-1, 4)
    names = tuple(n for n, _ in objects)
    return ImageRecord(name, Path(f"{name}.jpg"), 100, 100, names, boxes, np.zeros(len(objects), bool))


def embedded(r: ImageRecord) -> EmbeddedImage:
    """Every object is proposed, beside two regions of the ground; a class has a direction of its own."""
    ground = torch.tensor([[70.0, 70, 95, 95], [0, 70, 20, 95]])
    boxes = torch.cat([torch.from_numpy(r.boxes), ground])
    axis = torch.stack([AXES[CLASSES.index(n)] for n in r.names] + [AXES[5], AXES[6]])
    space, count = "baseline_roi", len(r.names)
    sure = torch.full((len(boxes),), 0.9)
    return EmbeddedImage(boxes, boxes, sure, {space: axis}, {space: axis[:count]}, torch.ones(len(boxes)), torch.ones(count))


def parts() -> OwnData:
    train = [record(f"t{k}", [("nut", [5, 5, 30, 30]), ("bolt", [40, 5, 60, 40])]) for k in range(4)]
    test = [record("q0", [("nut", [10, 10, 40, 40])]), record("q1", [("bolt", [10, 10, 30, 50]), ("nut", [50, 5, 80, 40])])]
    return OwnData("parts", CLASSES, train, test, {r.id: embedded(r) for r in [*train, *test]})
