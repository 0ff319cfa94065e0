"""A Faster R-CNN on ResNet-18-FPN at an eighth of its width: mmdet's own, with the RepMet head unless told otherwise."""

from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch import nn

import repmet.detection.modules  # noqa: F401  (registers the models, ours and mmdet's)

FPN = 16  # channels
HEAD = {
    "type": "RepMetBBoxHead",
    "num_classes": 3,
    "in_channels": FPN,
    "roi_feat_size": 3,
    "fc_channels": 24,
    "embed_dim": 8,
    "num_modes": 2,
}


def small_detector(
    head: dict[str, Any] | None = None,
    *,
    sampler: dict[str, Any] | None = None,
    proposals: int = 40,
    score_thr: float = 0.05,
) -> nn.Module:
    """Built from seed 0; `head` is merged over `HEAD`, unless it names another type of its own."""
    head = head or {}
    head = head if "type" in head else HEAD | head
    sampler = sampler or {"type": "RandomSampler", "num": 24, "pos_fraction": 0.25}
    assigner = {"type": "MaxIoUAssigner", "ignore_iof_thr": 0.5}
    nms = {"type": "nms", "iou_threshold": 0.7}
    some = {"nms_pre": 200, "max_per_img": proposals, "nms": nms, "min_bbox_size": 0}
    config = {
        "type": "FasterRCNN",
        "data_preprocessor": {"type": "DetDataPreprocessor", "mean": [120] * 3, "std": [60] * 3, "pad_size_divisor": 32},
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_eval": True},
        "neck": {"type": "FPN", "in_channels": [8, 16, 32, 64], "out_channels": FPN, "num_outs": 5},
        "rpn_head": {
            "type": "RPNHead",
            "in_channels": FPN,
            "feat_channels": FPN,
            "anchor_generator": {
                "type": "AnchorGenerator",
                "scales": [6],
                "ratios": [1.0],
                "strides": [4, 8, 16, 32, 64],
            },
        },
        "roi_head": {
            "type": "StandardRoIHead",
            "bbox_roi_extractor": {
                "type": "SingleRoIExtractor",
                "roi_layer": {"type": "RoIAlign", "output_size": 3, "sampling_ratio": 2},
                "out_channels": FPN,
                "featmap_strides": [4, 8, 16, 32],
            },
            "bbox_head": head,
        },
        "train_cfg": {
            "rpn": {
                "assigner": assigner | {"pos_iou_thr": 0.7, "neg_iou_thr": 0.3, "min_pos_iou": 0.3},
                "sampler": {"type": "RandomSampler", "num": 32, "pos_fraction": 0.5, "add_gt_as_proposals": False},
                "allowed_border": -1,
                "pos_weight": -1,
                "debug": False,
            },
            "rpn_proposal": some,
            "rcnn": {
                "assigner": assigner
                | {"pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.5, "match_low_quality": False},
                "sampler": sampler,
                "pos_weight": -1,
                "debug": False,
            },
        },
        "test_cfg": {
            "rpn": some,
            "rcnn": {"score_thr": score_thr, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 30},
        },
    }
    torch.manual_seed(0)
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("ERROR")  # mmengine lists every parameter that it initialises
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(ConfigDict(config))
        model.init_weights()
    logger.setLevel(level)
    return model
