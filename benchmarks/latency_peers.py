"""Other people's detectors with visual or text prompts, built of their configurations with random weights.

They lie in build/peers (`make bench` installs them there) and are no dependency. Each looks at the same image, scaled to
its own size, and answers for ten classes whose prompts were embedded before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 10
FOLDER = Path(__file__).resolve().parents[1] / "build" / "peers"
# Nothing is asked of the network, and nothing is installed, by an import.
_QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false", "HF_HUB_OFFLINE": "1"}


def yoloe(scale: str) -> tuple[Any, Callable[[np.ndarray], object]]:
    """Ultralytics' YOLOE at 640 pixels: visual prompts embedded once, then the detector with these as classes.

    Args:
        scale: `v8s` or `11s`.
    """
    _peers()
    import torch
    from ultralytics.nn.tasks import YOLOEModel

    model = YOLOEModel(f"yoloe-{scale}.yaml", nc=CLASSES, verbose=False).eval()
    with torch.inference_mode():
        prompts = model.get_visual_pe(torch.rand(1, 3, 640, 640), torch.rand(1, CLASSES, 80, 80))

    def look(image: np.ndarray) -> object:
        return model.predict(_scaled(image, (640, 640)), vpe=prompts)

    return model, look


def owlv2() -> tuple[Any, Callable[[np.ndarray], object]]:
    """OWLv2-base, patches of 16 at 960 pixels: its image tower, boxes, and classes by the embeddings of ten query images."""
    _peers()
    import torch
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    vision = {"image_size": 960, "patch_size": 16}  # all else is the base model's by default
    model = Owlv2ForObjectDetection(Owlv2Config(vision_config=vision)).eval()
    queries = torch.rand(1, CLASSES, model.config.text_config.hidden_size)

    def look(image: np.ndarray) -> object:
        maps = model.image_embedder(_scaled(image, (960, 960)))[0]
        features = maps.flatten(1, 2)
        return model.class_predictor(features, queries), model.box_predictor(features, maps)

    return model, look


def grounding_dino() -> tuple[Any, Callable[[np.ndarray], object]]:
    """Grounding DINO tiny, 800 pixels the shorter side, with the names of ten classes as its text."""
    _peers()
    import torch
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    model = GroundingDinoForObjectDetection(GroundingDinoConfig()).eval()
    words = torch.full((1, 2 * CLASSES + 2), 1012)  # full stops between words, [CLS] and [SEP] around them
    words[0, 0], words[0, -1] = 101, 102
    words[0, 1:-1:2] = torch.arange(2000, 2000 + CLASSES)

    def look(image: np.ndarray) -> object:
        height, width = image.shape[:2]
        size = round(800 * height / min(height, width)), round(800 * width / min(height, width))
        return model(pixel_values=_scaled(image, size), input_ids=words, attention_mask=torch.ones_like(words))

    return model, look


def _peers() -> None:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))  # behind what is installed


def _scaled(image: np.ndarray, size: tuple[int, int]) -> Any:
    import torch
    import torch.nn.functional as F

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)


PROMPTED: dict[str, Callable[[], tuple[Any, Callable[[np.ndarray], object]]]] = {
    "Ultralytics' YOLOE-v8s, 640 (AGPL-3.0)": lambda: yoloe("v8s"),
    "Ultralytics' YOLOE-11s, 640 (AGPL-3.0)": lambda: yoloe("11s"),
    "OWLv2-base of transformers, 960 (Apache-2.0)": owlv2,
    "Grounding DINO tiny of transformers, 800 (Apache-2.0)": grounding_dino,
}


def package_of(name: str) -> str:
    """The package that one of them comes from."""
    return "ultralytics" if name.startswith("Ultralytics") else "transformers"
