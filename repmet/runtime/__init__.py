"""The exported detector: the face of `repmet.FewShotDetector` by ONNX Runtime or OpenVINO, in a process without torch.

    from repmet.runtime import FewShotDetector

    detector = FewShotDetector("my_detector")  # a folder that `repmet export` wrote
    detector.learn({"nut": [("a.jpg", (10, 20, 60, 80))]})
    detections = detector.detect("b.jpg")

Shapes: N classes, P proposals of an image, G boxes in it, V views of it, S support embeddings, f features.
"""

from repmet.detection.results import Detections
from repmet.runtime.few_shot_detector import FewShotDetector

__all__ = ["Detections", "FewShotDetector"]
