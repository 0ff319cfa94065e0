"""The box head on a frozen backbone: boxes and objectness from the pyramid, the embedding from the frozen maps.

Shapes: R regions, C channels of the pyramid, f features of the frozen maps, e embedding dimensions.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi, bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor, nn

from repmet.detection.modules.box_decoding import DecodesBoxes
from repmet.detection.modules.roi_extractor import FusedRoIExtractor
from repmet.model_definitions import roi_layers


def frozen_bins(levels: Sequence[Tensor], strides: Sequence[int], rois: Tensor, cells: int) -> list[Tensor]:
    """Of RoIs (R, 5) the bins of every frozen map (B, C_l, H_l, W_l): (R, C_l * cells^2) each."""
    pairs = zip(levels, strides, strict=True)
    return [roi_layers.roi_align(level, rois, cells, 1 / stride, 2, True).flatten(1) for level, stride in pairs]


def frozen_features(parts: Sequence[Tensor], cells: int, grid_weight: float) -> Tensor:
    """Of the bins of every frozen map the features (R, f), f = (1 + cells^2) * sum of the maps' channels.

    First the mean over the bins of each map, of unit length, then the bins as they lie, of length `grid_weight`.
    """
    means = [F.normalize(part.unflatten(1, (-1, cells**2)).mean(2), dim=1) for part in parts]
    grids = [grid_weight * F.normalize(part, dim=1) for part in parts]
    return torch.cat([*means, *grids], 1)


@MODELS.register_module()
class FrozenRoIExtractor(FusedRoIExtractor):
    """RoI features of the pyramid, flattened, and behind them the bins of the region in each frozen map.

    Args:
        maps: (stride, channels) of the frozen maps that follow the pyramid's levels (`FrozenPyramid.passed_on`).
        cells: of each frozen map, a region is pooled to cells x cells bins.
        in_training: pool the frozen maps in training too, for a head that learns an embedding.
        arguments: as mmdet's `SingleRoIExtractor`, for the pyramid.

    Shape:
        (R, C * h * w + cells^2 * sum of the maps' channels).
    """

    def __init__(self, *, maps: Sequence[tuple[int, int]], cells: int = 3, in_training: bool = False, **arguments) -> None:
        super().__init__(**arguments)
        self.maps, self.cells, self.in_training = [tuple(m) for m in maps], cells, in_training
        self.pyramid_levels = len(self.featmap_strides)

    @property
    def num_inputs(self) -> int:
        return len(self.featmap_strides) + len(self.maps)

    def pyramid(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """The pyramid's part alone, (R, C * h * w)."""
        return super().forward(tuple(feats[: self.pyramid_levels]), rois).flatten(1)

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        pyramid = self.pyramid(feats, rois)
        if self.training and not self.in_training:
            return pyramid
        strides = [stride for stride, _ in self.maps]
        return torch.cat([pyramid, *frozen_bins(feats[self.pyramid_levels :], strides, rois, self.cells)], 1)


@MODELS.register_module()
class FrozenFeatureHead(DecodesBoxes, BBoxHead):
    """Class-agnostic boxes, how well they fit, and an embedding that is read from frozen maps alone.

    Losses:
        loss_bbox   as mmdet's `BBoxHead`, on regions of an object
        loss_object quality focal loss (Li et al. 2020, eq. 2), `|y - p|^2 BCE(p, y)`: y is the IoU of the predicted box with
                    its object, 0 for the background

    Args:
        in_channels, roi_feat_size: C and h = w of the pyramid's RoI features.
        fc_channels: widths of the fully connected layers.
        maps, cells: channels of each frozen map behind the pyramid's features, and bins a side.
        grid_weight: of the bins themselves beside their mean, which alone does not know where in a region something is.
        object_weight: of `loss_object`.
        reg_class_agnostic, bbox_coder, loss_bbox, init_cfg, num_classes: as mmdet's `BBoxHead`.
    """

    CLASSES = ("object",)  # of its own predictions, which tell no classes apart, whatever it was trained on

    def __init__(
        self,
        num_classes: int = 1,
        *,
        in_channels: int = 96,
        roi_feat_size: int = 7,
        fc_channels: Sequence[int] = (256, 256),
        maps: Sequence[int] = (112, 320),
        cells: int = 3,
        grid_weight: float = 0.5,
        object_weight: float = 2.0,
        bbox_coder: dict | None = None,
        loss_bbox: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            with_cls=False,
            num_classes=num_classes,
            in_channels=in_channels,
            roi_feat_size=roi_feat_size,
            reg_class_agnostic=True,
            bbox_coder=bbox_coder or {"type": "DeltaXYWHBBoxCoder", "target_stds": [0.1, 0.1, 0.2, 0.2]},
            loss_bbox=loss_bbox or {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0},
            init_cfg=init_cfg,
        )
        self.maps, self.cells, self.grid_weight, self.object_weight = list(maps), cells, grid_weight, object_weight
        widths = [in_channels * self.roi_feat_area, *fc_channels]
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.fc_reg = nn.Linear(widths[-1], self.bbox_coder.encode_size)
        self.fc_object = nn.Linear(widths[-1], 1)
        if init_cfg is None:
            self.init_cfg = [
                {"type": "Xavier", "layer": "Linear"},
                {"type": "Normal", "std": 0.001, "override": [{"name": "fc_reg"}, {"name": "fc_object"}]},
            ]

    def roi_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(R, C*h*w + bins) -> `frozen_features` (R, f) and what the boxes are read from."""
        bins = self.cells**2
        pyramid, *frozen = x.split([self.in_channels * self.roi_feat_area, *(bins * c for c in self.maps)], dim=1)
        for fc in self.fcs:
            pyramid = F.relu(fc(pyramid))
        return frozen_features(frozen, self.cells, self.grid_weight), pyramid

    embeds_by_features = True  # its embedding is the RoI features at unit length

    def embed(self, features: Tensor) -> Tensor:
        """(R, f) -> unit embeddings (R, e)."""
        return F.normalize(features, dim=-1)

    def objectness(self, box_features: Tensor) -> Tensor:
        """How well the predicted box fits an object of any class, in (0, 1): (R,)."""
        return self.fc_object(box_features).sigmoid()[:, 0]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """-> objectness logits (R, 1), box deltas (R, 4)."""
        pyramid = x[:, : self.in_channels * self.roi_feat_area]
        for fc in self.fcs:
            pyramid = F.relu(fc(pyramid))
        return self.fc_object(pyramid), self.fc_reg(pyramid)

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        losses = super().loss(None, bbox_pred, rois, labels, label_weights, bbox_targets, bbox_weights, reduction_override)
        foreground = labels < self.num_classes
        target = torch.zeros_like(cls_score[:, 0])
        with torch.no_grad():
            boxes = self.bbox_coder.decode(rois[foreground, 1:], bbox_pred[foreground])
            truth = self.bbox_coder.decode(rois[foreground, 1:], bbox_targets[foreground])
            target[foreground] = bbox_overlaps(boxes, truth, is_aligned=True).clamp(0, 1)
        logits = cls_score[:, 0]
        focal = (target - logits.sigmoid()).abs().square()
        value = focal * F.binary_cross_entropy_with_logits(logits, target, reduction="none") * label_weights
        losses["loss_object"] = self.object_weight * value.sum() / (label_weights > 0).sum().clamp_min(1)
        return losses

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: dict | None = None,
    ) -> InstanceData:
        """Objects of any class: one label, 0, scored by `objectness`."""
        boxes, scores = self.decode(roi, bbox_pred, img_meta, rescale), cls_score[:, 0].sigmoid()
        if rcnn_test_cfg is None:
            return InstanceData(bboxes=boxes, scores=scores)
        kept = roi_layers.nms(boxes, scores, rcnn_test_cfg.nms.iou_threshold)[: rcnn_test_cfg.max_per_img]
        return InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=torch.zeros_like(kept))


@MODELS.register_module()
class ObjectRoIHead(StandardRoIHead):
    """mmdet's RoI head, whose boxes and scores can be had before anything is asked of classes."""

    def refine(
        self, levels: Sequence[Tensor], proposals: Sequence[InstanceData], metas: Sequence[dict]
    ) -> list[InstanceData]:
        """The proposals of each image moved onto their objects, the best first, as many as `test_cfg` says after its NMS.

        Args:
            levels: what the neck gives.
            proposals: of each image, `bboxes` (P, 4) in the pixels that the network sees, and `scores` (P,).
            metas: `img_shape` of each image.

        Returns:
            By image, `bboxes` (P', 4) and `scores` (P',), how well each box fits an object. Chosen and sorted by the
            geometric mean of that and of how surely the proposal is one; the fit alone ranks detections better.
        """
        extractor, head, rule = self.bbox_roi_extractor, self.bbox_head, self.test_cfg
        rois = bbox2roi([p.bboxes for p in proposals])
        logits, deltas = head(extractor.pyramid(levels, rois))
        refined = []
        for i, (proposed, meta) in enumerate(zip(proposals, metas, strict=True)):
            mine = rois[:, 0] == i
            boxes = head.decode(rois[mine], deltas[mine], meta, rescale=False)
            fit = logits[mine, 0].sigmoid()
            kept = roi_layers.nms(boxes, (proposed.scores * fit).sqrt(), rule.nms.iou_threshold)[: rule.max_per_img]
            refined.append(InstanceData(bboxes=boxes[kept], scores=fit[kept]))
        return refined
