"""Whole detectors beside each other: mmdet's Faster R-CNN R50-FPN on our layers, torchvision's, and the RepMet head in it.

Each pair is of equal size: the same images, at the size that the network sees, the same frozen layers (stem, first stage and
batch statistics), 1000 proposals and 512 regions an image, SGD. What is drawn at random is drawn by each detector itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
CLASSES, PROPOSALS = 20, 1000
SIZES = 0.02  # by how much the numbers of trained weights of two equal detectors may differ


@dataclass(frozen=True)
class Training:
    """A detector and what one step of its training does; calling it does the step and returns the losses."""

    model: nn.Module
    step: Callable[[], dict[str, Tensor]]

    def __call__(self) -> dict[str, Tensor]:
        torch.manual_seed(0)  # the samplers draw the same regions every time
        return self.step()


@dataclass(frozen=True)
class Pair:
    """Two detectors and the least ratio of the peer's time to ours that is aimed at."""

    name: str
    ours: Callable[[dict], Training]
    peer: str
    theirs: Callable[[dict], Training]
    aim: float
    images: int = 2
    size: tuple[int, int] = (320, 480)  # height, width in pixels
    classes: int = CLASSES
    boxes: int = 4  # objects per image


def mmdet_config() -> Config:
    """mmdet's `faster-rcnn_r50_fpn` as it is, with as many classes and without weights to fetch."""
    from mmengine.hub import get_config

    import repmet.detection.modules  # noqa: F401  (fills mmcv's table of kernels)

    model = get_config("mmdet::_base_/models/faster-rcnn_r50_fpn.py").model
    model.backbone.pop("init_cfg")
    model.roi_head.bbox_head.num_classes = CLASSES
    model.train_cfg.rpn_proposal.max_per_img = PROPOSALS
    return model


def softmax_head(batch: dict) -> Training:
    """The plain detector."""
    return _mmdet_step(mmdet_config(), batch)


def repmet_head(batch: dict) -> Training:
    """The same with RepMet's head as the experiments have it, in the place of two FC and a softmax."""
    from repmet.experiments.config.loading import load_experiment

    model = mmdet_config()
    model.roi_head.bbox_head = load_experiment(
        EXPERIMENTS / "published/detection/repmet_r50_fpn_voc07.yaml"
    ).model.roi_head.bbox_head
    model.roi_head.bbox_head.num_classes = CLASSES
    return _mmdet_step(model, batch)


def torchvision_detector(batch: dict) -> Training:
    """`fasterrcnn_resnet50_fpn` as its pretrained weights make it: three stages train, batch norm is frozen."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops.misc import FrozenBatchNorm2d

    height, width = batch["inputs"][0].shape[1:]
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3)
    sides = {"min_size": min(height, width), "max_size": max(height, width)}
    model = FasterRCNN(backbone, CLASSES + 1, **sides, rpn_post_nms_top_n_train=PROPOSALS).train()
    optimiser = _sgd(model)
    objects = [sample.gt_instances for sample in batch["data_samples"]]
    targets = [{"boxes": o.bboxes, "labels": o.labels + 1} for o in objects]

    def step() -> dict[str, Tensor]:
        losses = model([image / 255 for image in batch["inputs"]], targets)
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
        return losses

    return Training(model, step)


def _mmdet_step(model_config: Config, batch: dict) -> Training:
    from mmdet.registry import MODELS
    from mmengine.logging import MMLogger
    from mmengine.optim import OptimWrapper
    from mmengine.registry import DefaultScope

    MMLogger.get_current_instance().setLevel("WARNING")  # it would list every parameter's initialisation
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(model_config)
        model.init_weights()
    model.train()
    optimiser = OptimWrapper(_sgd(model))

    return Training(model, lambda: model.train_step(batch, optimiser))


def _sgd(model: nn.Module) -> torch.optim.SGD:
    """At a rate that leaves the weights where they are."""
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-9, momentum=0.9, weight_decay=1e-4)


def check_pair(pair: Pair, ours: Training, theirs: Training) -> None:
    """Raises AssertionError where the two are not of one size, or do not train."""
    counts = [sum(p.numel() for p in way.model.parameters() if p.requires_grad) for way in (ours, theirs)]
    if abs(counts[0] - counts[1]) > SIZES * counts[1]:
        raise AssertionError(f"{pair.name}: {counts[0]:,} weights are trained, and {counts[1]:,} of {pair.peer}")
    for way, who in ((ours, pair.name), (theirs, pair.peer)):
        for name, value in way().items():
            if not torch.isfinite(value):
                raise AssertionError(f"{who}: {name} is {float(value)}")


PAIRS = (
    Pair("mmdet's Faster R-CNN R50-FPN", softmax_head, "torchvision's fasterrcnn_resnet50_fpn", torchvision_detector, 1.0),
    Pair("RepMet head in mmdet's Faster R-CNN R50-FPN", repmet_head, "softmax head", softmax_head, 0.95),
)
