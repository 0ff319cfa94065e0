"""mmdet's own models, small, and a step of training through mmcv's operators."""

import pytest
import torch

pytest.importorskip("mmcv")
pytest.importorskip("repmet.detection")  # its table comes before mmcv asks for one

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.structures import InstanceData

from repmet.detection.mmcv_ops.table import owner

ours = pytest.mark.skipif(owner() != "csrc", reason="a complete mmcv is installed")

BOXES = torch.tensor([[0.0, 1.0, 1.0, 9.0, 8.0], [1.0, -3.0, 2.0, 30.0, 11.0], [1.0, 40.0, 40.0, 50.0, 50.0]])


def faster_rcnn(depth: int = 18, **backbone) -> torch.nn.Module:
    """mmdet's own configuration without its download; the backbone is narrower where a test can do with less."""
    register_all_modules()
    config = Config.fromstring("_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py']", ".py").model
    config.backbone.init_cfg = None
    if depth != 50:
        config.backbone.update(depth=depth, frozen_stages=-1)
        config.neck.in_channels = [64, 128, 256, 512]
    config.backbone.update(backbone)
    return MODELS.build(config)


def batch() -> dict:
    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo={"img_shape": (64, 96), "ori_shape": (64, 96), "scale_factor": (1.0, 1.0)})
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 50.0], [30.0, 10.0, 90.0, 60.0]]), labels=torch.tensor([3, 7])
        )
        samples.append(sample)
    return {"inputs": [torch.randint(0, 255, (3, 64, 96), dtype=torch.uint8) for _ in samples], "data_samples": samples}


def train_and_predict(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    model.train()
    data = model.data_preprocessor(batch(), True)
    losses = model(**data, mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    model.eval()
    with torch.no_grad():
        model(**model.data_preprocessor(batch(), False), mode="predict")
    assert total.isfinite()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
