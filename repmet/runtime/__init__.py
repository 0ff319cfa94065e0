"""The exported detector and classifier: the faces of `repmet.FewShotDetector` and `repmet.FewShotClassifier` by ONNX Runtime
or OpenVINO, in a process without torch.

    from repmet.runtime import FewShotDetector

    detector = FewShotDetector("my_detector")  # a folder that `repmet export` wrote
    detector.learn({"nut": [("a.jpg", (10, 20, 60, 80))]})
    detections = detector.detect("b.jpg")

    classifier = FewShotClassifier("my_classifier")  # a folder that `repmet export --classifier` wrote
    classifier.learn({"nut": ["a.jpg"], "washer": ["c.jpg"]})
    prediction = classifier.predict("b.jpg")

Shapes: N classes, P proposals of an image, G boxes in it, V views of it, S support embeddings, f features.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repmet.classification.prediction import Prediction
    from repmet.detection.results import Detections
    from repmet.runtime.few_shot_classifier import FewShotClassifier
    from repmet.runtime.few_shot_detector import FewShotDetector

__all__ = ["Detections", "FewShotClassifier", "FewShotDetector", "Prediction"]

_HOME = {
    "Detections": "repmet.detection.results",
    "FewShotClassifier": "repmet.runtime.few_shot_classifier",
    "FewShotDetector": "repmet.runtime.few_shot_detector",
    "Prediction": "repmet.classification.prediction",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'repmet.runtime' has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
