"""Few-shot detection and classification by learned representatives (RepMet).

    from repmet import FewShotClassifier, FewShotDetector

The trees `classification`, `detection`, `model_definitions`, `experiments`, `data` and `benchmarks` are sub-packages of this
one. In a checkout they lie beside this folder, and the path below leads there; a wheel holds them inside. Importing this
package imports nothing else: a public name brings its tree when it is first used.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repmet.classification.few_shot_classifier import FewShotClassifier
    from repmet.classification.prediction import Prediction
    from repmet.data.readers.image_inputs import video_frames
    from repmet.detection.exports import Exported, export
    from repmet.detection.few_shot_detector import FewShotDetector
    from repmet.detection.results import Detections
    from repmet.detection.tracking import track

    __version__: str

__all__ = [
    "Detections",
    "Exported",
    "FewShotClassifier",
    "FewShotDetector",
    "Prediction",
    "__version__",
    "export",
    "track",
    "video_frames",
]

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "setup.py").is_file() and (_checkout / "csrc").is_dir():
    __path__.append(str(_checkout))

_PUBLIC = {
    "Detections": "repmet.detection.results",
    "Exported": "repmet.detection.exports",
    "FewShotClassifier": "repmet.classification.few_shot_classifier",
    "FewShotDetector": "repmet.detection.few_shot_detector",
    "Prediction": "repmet.classification.prediction",
    "export": "repmet.detection.exports",
    "track": "repmet.detection.tracking",
    "video_frames": "repmet.data.readers.image_inputs",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from repmet.installation import version

        return version()
    if name not in _PUBLIC:
        raise AttributeError(f"module 'repmet' has no attribute {name!r}")
    try:
        module = importlib.import_module(_PUBLIC[name])
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("mmcv", "mmdet"):
            raise ImportError(f"{name} needs the extra `detection`: pip install 'repmet[detection]'") from error
        raise
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
