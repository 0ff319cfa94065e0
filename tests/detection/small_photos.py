"""photos.yaml made small: timm's tiny network of random weights, narrow heads, two images of 96 pixels a step."""

import json
from pathlib import Path

import numpy as np
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn

from repmet.experiments.config.loading import load_experiment

PHOTOS = Path(__file__).parents[2] / "experiments/detection/photos.yaml"
SMALL = {
    "model.backbone": {"type": "TimmBackbone", "name": "test_efficientnet", "weights": None},
    "model.neck.in_channels": [32, 48, 64],
    "model.neck.out_channels": 8,
    "model.rpn_head.in_channels": 8,
    "model.rpn_head.feat_channels": 8,
    "model.roi_head.bbox_roi_extractor.out_channels": 8,
    "model.roi_head.bbox_roi_extractor.maps": [[16, 48], [32, 64]],
    "model.roi_head.bbox_head.in_channels": 8,
    "model.roi_head.bbox_head.fc_channels": [12],
    "model.roi_head.bbox_head.maps": [48, 64],
    "views": {"sizes": [96], "mirror": True},
    "train_dataloader.batch_size": 2,
    "train_cfg.max_epochs": 2,
    "default_hooks.checkpoint.max_keep_ckpts": -1,
}


def small_photos(folder: Path) -> Config:
    """The experiment on the images of `folder`."""
    return load_experiment(PHOTOS, SMALL | {"data": [{"name": "pets", "root": str(folder)}]})


def small_model(folder: Path) -> nn.Module:
    """Its detector, in eval mode, from seed 0."""
    from torch import manual_seed

    manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(small_photos(folder).model)
    model.init_weights()
    return model.eval()


def pets(folder: Path, count: int = 4) -> Path:
    """Images, every other one upright, with a cat and a dog each, in COCO's layout."""
    images, boxes = [], []
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        width, height = (60, 120) if i % 2 else (120, 60)
        Image.fromarray(generator.integers(0, 255, (height, width, 3), np.uint8)).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": width, "height": height})
        for category, box in ((1, [10, 20, 30, 25]), (2, [4, 5, 8, 10])):
            boxes.append({"id": len(boxes), "image_id": i, "category_id": category, "bbox": box, "area": 1, "iscrowd": 0})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (folder / "instances.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return folder
