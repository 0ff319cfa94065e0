"""What a detector found in a folder of photographs, and whether two found the same."""

from pathlib import Path

import numpy as np

from repmet.detection.few_shot_detector import FewShotDetector


def everything(detector: FewShotDetector, photos: Path) -> dict:
    return {path.name: found for path, found in detector.detect([photos], min_score=0.0)}


def same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        for field in ("labels", "scores", "boxes", "nearest"):
            np.testing.assert_array_equal(getattr(a[name], field), getattr(b[name], field))
