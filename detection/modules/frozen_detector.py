"""A Faster R-CNN whose backbone is frozen: it takes images, or the maps that its backbone made of them before."""

from collections.abc import Sequence

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads import ATSSHead
from mmdet.models.detectors import FasterRCNN
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor, nn

NEAR = 0.1  # IoU from which an anchor is near a marked box


@MODELS.register_module()
class MapsDataPreprocessor(DetDataPreprocessor):
    """mmdet's, which also batches kept maps: levels of images, [[(C_l, H, W), ...], ...] -> (B, C_l, H_l, W_l) a level."""

    def forward(self, data: dict, training: bool = False) -> dict:
        if not isinstance(data["inputs"][0], Sequence):
            return super().forward(data, training)
        data = self.cast_data(data)
        levels = pad_levels(data["inputs"])
        for sample in data["data_samples"]:
            height, width = (-(-side // self.pad_size_divisor) * self.pad_size_divisor for side in sample.img_shape)
            sample.set_metainfo({"pad_shape": (height, width)})
        shape = tuple(max(s.pad_shape[axis] for s in data["data_samples"]) for axis in (0, 1))
        for sample in data["data_samples"]:
            sample.set_metainfo({"batch_input_shape": shape})
        return {"inputs": levels, "data_samples": data["data_samples"]}


@MODELS.register_module()
class FrozenBackboneRCNN(FasterRCNN):
    """mmdet's Faster R-CNN that lets maps pass its backbone by."""

    def extract_feat(self, batch_inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        maps = self.backbone(batch_inputs) if isinstance(batch_inputs, Tensor) else batch_inputs
        return self.neck(maps)


@MODELS.register_module()
class FrozenPyramid(FPN):
    """mmdet's FPN on normalised maps, which hands the frozen maps on behind its own levels.

    Batch norm evens out how large the channels of a frozen backbone are. What is pooled from the frozen maps (embeddings)
    stays as the backbone made it, whatever the pyramid learns.

    Args:
        passed_on: which of the inputs to hand on.
        in_channels, out_channels, num_outs, arguments: as mmdet's `FPN`.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, num_outs: int, passed_on: Sequence[int] = (), **arguments
    ) -> None:
        super().__init__(list(in_channels), out_channels, num_outs, **arguments)
        self.passed_on = list(passed_on)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in in_channels)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, C_l, H_l, W_l) of each stride -> the pyramid's `num_outs` levels, then the inputs `passed_on` as they came."""
        levels = super().forward([norm(level) for norm, level in zip(self.norms, inputs, strict=True)])
        return *levels, *(inputs[i] for i in self.passed_on)


@MODELS.register_module()
class ObjectRPNHead(ATSSHead):
    """mmdet's ATSS as a proposal network of one class, `object`, on the levels of the pyramid.

    Boxes by GIoU and a centerness that knows how well a place sees a box rank objects of classes never marked higher than
    a classifier does, and so does not teaching it that everything unmarked is background (Kim et al. 2022, Learning
    Open-World Object Proposals Without Learning to Classify).

    Args:
        far_background: weight of the places whose anchor overlaps no marked box by `NEAR` or more, where objects that nobody
            marked may be. 1: they are background like the others.
        arguments: as mmdet's `ATSSHead`.
    """

    def __init__(self, *args, far_background: float = 1.0, **arguments) -> None:
        super().__init__(*args, **arguments)
        self.far_background = far_background

    @property
    def num_anchors(self) -> int:
        """mmdet's old name of `num_base_priors`, which its own ATSS still reads and warns of."""
        return self.num_base_priors

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        return super().forward(x[: len(self.prior_generator.strides)])

    def _get_targets_single(
        self, flat_anchors: Tensor, valid_flags: Tensor, levels: list, truth: InstanceData, *args, **arguments
    ) -> tuple:
        targets = super()._get_targets_single(flat_anchors, valid_flags, levels, truth, *args, **arguments)
        anchors, labels, weights, *others = targets
        if self.far_background != 1:
            overlaps = bbox_overlaps(anchors, truth.bboxes)  # (A, G)
            far = overlaps.amax(1) < NEAR if len(truth) else torch.ones_like(weights, dtype=torch.bool)
            weights = torch.where(far & (labels == self.num_classes), self.far_background * weights, weights)
        return anchors, labels, weights, *others


def pad_levels(maps: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """Maps by level and image, [(C_l, H_li, W_li)] -> a batch (B, C_l, H_l, W_l) a level, zeros at the lower right."""
    batch = []
    for level in maps:
        height, width = (max(m.shape[axis] for m in level) for axis in (1, 2))
        joined = torch.zeros(len(level), level[0].shape[0], height, width).contiguous(memory_format=torch.channels_last)
        for image, m in zip(joined, level, strict=True):
            image[:, : m.shape[1], : m.shape[2]] = m
        batch.append(joined)
    return tuple(batch)
