"""What a detector found in a folder of photographs, and whether two found the same."""

from pathlib import Path

import numpy as np

from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.few_shot_detector import FewShotDetector


def records_of(photos: Path) -> list[OpenImage]:
    """The images of a folder without boxes, as the embedder takes them."""
    return [OpenImage.of(image.name, image.open()) for image in image_inputs(photos)]


def everything(detector: FewShotDetector, photos: Path) -> dict:
    return {result.image.path.name: result for result in detector.detect([photos], min_score=0.0)}


def same(a: dict, b: dict, tolerance: float = 0.0) -> None:
    """Bit for bit; within a tolerance where the images went through the network in other batches."""
    assert a.keys() == b.keys()
    for name in a:
        for field in ("labels", "scores", "boxes", "nearest"):
            np.testing.assert_allclose(getattr(a[name], field), getattr(b[name], field), atol=tolerance, rtol=tolerance)


def close(a: dict, b: dict) -> None:
    """The same images reach the network from files and from memory, in batches of other sizes."""
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].names == b[name].names and len(a[name]) > 3
        np.testing.assert_allclose(a[name].scores, b[name].scores, atol=1e-5)
        np.testing.assert_allclose(a[name].boxes, b[name].boxes, atol=1e-2)


def marks_of(records) -> dict:
    """The records' boxes as somebody marks them from Python."""
    names = sorted({n for r in records for n in r.names})
    return {
        name: [(r.path, r.boxes[b]) for r in records for b, label in enumerate(r.names) if label == name] for name in names
    }
