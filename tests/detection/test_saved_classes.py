"""What is found where only scores from somewhere on are asked for, and the nearest support, against all of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.saved_classes import SavedClasses
from repmet.detection.scoring.calibration import Calibration
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.rule import FewShotRule

CLASSES, SUPPORTS, FEATURES = 30, 4, 16


@pytest.fixture
def image() -> EmbeddedImage:
    g = torch.Generator().manual_seed(0)
    corner = torch.rand(40, 2, generator=g) * 100
    boxes = torch.cat([corner, corner + 20 + torch.rand(40, 2, generator=g) * 60], 1)
    e = F.normalize(torch.randn(40, FEATURES, generator=g), dim=-1)
    spaces = {"baseline_roi": e, "repmet": e}
    return EmbeddedImage(boxes, boxes, torch.rand(40, generator=g), spaces, dict.fromkeys(spaces, e[:0]))


def saved(labels: torch.Tensor, calibration: Calibration | None) -> SavedClasses:
    g = torch.Generator().manual_seed(1)
    layer = 8 * torch.randn(CLASSES + 1, FEATURES, generator=g)
    return SavedClasses(
        classes=tuple(f"c{c}" for c in range(CLASSES)),
        scorer=LogisticRegression(rule=FewShotRule(objectness=1.5), weight=layer, bias=torch.zeros(CLASSES + 1)),
        embeddings=F.normalize(torch.randn(len(labels), FEATURES, generator=g), dim=-1),
        labels=labels,
        boxes=torch.arange(len(labels)),
        crops=torch.zeros(len(labels), 4, 4, 3, dtype=torch.uint8),
        weights={},
        calibration=calibration,
    )


@pytest.mark.parametrize("calibration", [None, Calibration(1.5, tuple(np.linspace(0, 2, CLASSES)), (0.35,) * CLASSES)])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_floor_gives_what_is_above_it_of_everything(image, calibration, mixed) -> None:
    labels = torch.arange(CLASSES).repeat_interleave(SUPPORTS)
    classes = saved(labels[torch.randperm(len(labels))] if mixed else labels, calibration)
    everything, nearest = classes.detect(image)
    for least in (np.full(CLASSES, 0.2), np.linspace(0.05, 0.5, CLASSES)):
        some, its = classes.detect(image, least)
        wanted = everything.scores >= least[everything.labels]
        shown = some.scores >= least[some.labels]
        assert 0 < wanted.sum() < len(everything) and len(some) < len(everything)
        assert np.array_equal(some.boxes[shown], everything.boxes[wanted])
        assert some.scores[shown] == pytest.approx(everything.scores[wanted], abs=1e-6)
        assert np.array_equal(some.labels[shown], everything.labels[wanted])
        assert np.array_equal(its[shown], nearest[wanted])


def test_the_nearest_support_is_of_the_same_class(image) -> None:
    classes = saved(torch.arange(CLASSES).repeat(SUPPORTS), None)  # a class's supports lie apart
    detections, nearest = classes.detect(image)
    assert np.array_equal(classes.labels.numpy()[nearest], detections.labels)
    rows = [int((image.boxes.numpy() == box).all(1).argmax()) for box in detections.boxes]
    products = (image.embeddings["repmet"][rows] @ classes.embeddings.T).numpy()
    products[classes.labels.numpy()[None] != detections.labels[:, None]] = -2
    assert np.array_equal(nearest, products.argmax(1))


def test_objects_of_no_class_are_those_of_everything(image) -> None:
    classes = saved(torch.arange(CLASSES).repeat_interleave(SUPPORTS), None)
    least = np.full(CLASSES + 1, 0.3)
    unknown = [
        d[d.labels == CLASSES] for d, _ in (classes.detect(image, unknown=True), classes.detect(image, least, unknown=True))
    ]
    assert len(unknown[0]) and unknown[0] == unknown[1]
