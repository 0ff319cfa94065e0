"""The RepMet box head for any mmdet two-stage detector: unit embedding, representatives, class-agnostic boxes.

Shapes: R regions of a batch, C channels, N foreground classes, K modes, e embedding dimensions.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from repmet.detection.modules.box_decoding import DecodesBoxes
from repmet.model_definitions.encoders import conv_block
from repmet.model_definitions.losses.repmet_detection import detection_logits, detection_loss
from repmet.model_definitions.representatives import Representatives, margin_loss


@MODELS.register_module()
class RepMetBBoxHead(DecodesBoxes, BBoxHead):
    """RoI features (R, C, h, w) -> [convolutions] -> two FC -> unit embedding E (R, e) -> distances (R, N, K) -> classes.

    The defaults are those of the released RepMet detector (Karlinsky et al., CVPR 2019).

    Losses, each averaged over the R sampled regions as there (sum / 512):
        loss_cls    cross-entropy of `softmax(scale * [s_1..s_N, 1 - max s])`, `s` the hard posterior
        loss_embed  `[min_own d2 - min_other d2 + margin]_+` on foreground regions; `margin` is on squared distances
        loss_aux    cross-entropy of a linear classifier on the second FC (`aux_classifier`), in training only
        loss_bbox   as mmdet's `BBoxHead`

    Args:
        num_classes: N.
        in_channels, roi_feat_size: C and h = w of the RoI features.
        num_fcs, fc_channels: number and width of the fully connected layers.
        num_convs, conv_channels: 3x3 convolutions with batch norm before them, for small detectors trained from scratch.
        pooled_embedding: read the embedding, and the auxiliary classifier, from the mean of the region over its positions
            in the place of the FCs, which then serve the boxes alone. Far fewer weights to fit: for few base classes on a
            pretrained backbone, whose averaged features tell classes apart before any training.
        embed_dim: e.
        num_modes: K.
        sigma: standard deviation of the posterior.
        scale: factor before the softmax.
        margin: of the embedding loss, on squared distances.
        embed_weight: weight of `loss_embed`.
        aux_classifier: add the linear classifier.
        normalize_representatives, separable, representatives_std: see `Representatives`; modes spread half as far. Smaller
            ones turn faster at the same learning rate.
        reg_class_agnostic, bbox_coder, loss_bbox, init_cfg: as mmdet's `BBoxHead`.
    """

    def __init__(
        self,
        num_classes: int = 80,
        *,
        in_channels: int = 256,
        roi_feat_size: int = 7,
        num_fcs: int = 2,
        fc_channels: int = 1024,
        num_convs: int = 0,
        conv_channels: int = 256,
        pooled_embedding: bool = False,
        embed_dim: int = 256,
        num_modes: int = 5,
        sigma: float = 0.5,
        scale: float = 15.0,
        margin: float = 0.5,
        embed_weight: float = 1.0,
        aux_classifier: bool = True,
        normalize_representatives: bool = True,
        separable: bool = True,
        representatives_std: float = 0.1,
        reg_class_agnostic: bool = True,
        bbox_coder: dict | None = None,
        loss_bbox: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            with_cls=False,
            num_classes=num_classes,
            in_channels=in_channels,
            roi_feat_size=roi_feat_size,
            reg_class_agnostic=reg_class_agnostic,
            bbox_coder=bbox_coder or {"type": "DeltaXYWHBBoxCoder", "target_stds": [0.1, 0.1, 0.2, 0.2]},
            loss_bbox=loss_bbox or {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0},
            init_cfg=init_cfg,
        )
        boxes = self.bbox_coder.encode_size * (1 if reg_class_agnostic else num_classes)
        widths = [in_channels] + [conv_channels] * num_convs
        self.convs = nn.Sequential(*(conv_block(a, b, pool=False) for a, b in pairwise(widths)))
        channels = widths[-1]
        widths = [channels * self.roi_feat_area] + [fc_channels] * num_fcs
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.fc_reg = nn.Linear(widths[-1], boxes)
        self.pooled_embedding = pooled_embedding
        features = channels if pooled_embedding else widths[-1]
        self.fc_embed = nn.Linear(features, embed_dim)
        self.fc_aux = nn.Linear(features, num_classes + 1) if aux_classifier else None
        self.representatives = Representatives(
            num_classes,
            num_modes,
            embed_dim,
            normalize=normalize_representatives,
            separable=separable,
            std=representatives_std,
            mode_std=representatives_std / 2,
        )
        self.sigma, self.scale, self.margin, self.embed_weight = sigma, scale, margin, embed_weight
        if init_cfg is None:
            self.init_cfg = [
                {"type": "Normal", "std": 0.01, "layer": "Linear"},
                {"type": "Normal", "std": 0.001, "override": {"name": "fc_reg"}},
            ]

    def roi_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """RoI features (R, C, h, w) -> what the embedding (R, f) and the boxes (R, g) are read from: mostly the same."""
        x = self.convs(x)
        boxes = x.flatten(1)
        for fc in self.fcs:
            boxes = F.relu(fc(boxes))
        return x.mean((2, 3)) if self.pooled_embedding else boxes, boxes

    def embed(self, features: Tensor) -> Tensor:
        """(R, f) -> unit embeddings E (R, e)."""
        return F.normalize(self.fc_embed(features), dim=-1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """RoI features (R, C, h, w) -> the scores (R, N*K [+ N+1]) and box deltas (R, 4 [x N]).

        The scores are one tensor, since mmdet splits them by image: d2 flattened and, in training, the auxiliary logits.
        """
        features, box_features = self.roi_features(x)
        scores = self.representatives(self.embed(features)).flatten(1)  # (R, N*K)
        if self.training and self.fc_aux is not None:
            scores = torch.cat([scores, self.fc_aux(features)], -1)  # (R, N*K + N+1)
        return scores, self.fc_reg(box_features)

    def distances(self, scores: Tensor) -> Tensor:
        """The squared distances (R, N, K) among the scores of `forward`."""
        classes, modes, _ = self.representatives.weight.shape
        return scores[:, : classes * modes].unflatten(1, (classes, modes))

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor | None,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """The losses of the class docstring. With `reduction_override="none"` each is per region, (R,), as OHEM needs."""
        boxes = super().loss(
            None,
            bbox_pred,
            rois,
            labels,
            label_weights,
            bbox_targets,
            bbox_weights,
            reduction_override=reduction_override,
        )
        d2 = self.distances(cls_score)
        foreground = labels < self.num_classes
        losses = {"loss_cls": detection_loss(d2, labels, sigma=self.sigma, scale=self.scale) * label_weights}
        embed = torch.zeros_like(losses["loss_cls"])
        embed[foreground] = margin_loss(d2[foreground], labels[foreground], self.margin, reduction="none")
        losses["loss_embed"] = self.embed_weight * embed * label_weights
        aux = cls_score[:, d2[0].numel() if len(d2) else 0 :]
        if self.fc_aux is not None and aux.numel():
            losses["loss_aux"] = F.cross_entropy(aux.float(), labels, reduction="none") * label_weights
        if reduction_override == "none":
            return losses | boxes
        regions = (label_weights > 0).sum().clamp_min(1)
        losses = {name: value.sum() / regions for name, value in losses.items()}
        with torch.no_grad():
            nearest = d2[foreground].amin(-1).argmin(-1)
            correct = (nearest == labels[foreground]).float().mean() if foreground.any() else d2.new_zeros(())
            losses["acc_fg"] = 100 * correct
        return losses | boxes

    def class_scores(self, d2: Tensor) -> Tensor:
        """Squared distances (R, N, K) -> softmax over classes and background, (R, N + 1), background last."""
        return detection_logits(d2, self.sigma, self.scale).softmax(-1)

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: dict | None = None,
    ) -> InstanceData:
        """mmdet's, with the posterior in the place of a softmax over logits. Without `rcnn_test_cfg` (TTA): before NMS."""
        if not len(roi):  # an image without proposals
            return super()._predict_by_feat_single(roi, cls_score, bbox_pred, img_meta, rescale, rcnn_test_cfg)
        results = InstanceData()
        scores = self.class_scores(self.distances(cls_score))
        if self.reg_class_agnostic:
            boxes = self.decode(roi, bbox_pred, img_meta, rescale)
        else:
            every = roi.repeat_interleave(self.num_classes, 0)
            boxes = self.decode(every, bbox_pred.reshape(-1, 4), img_meta, rescale).view(len(roi), -1)
        if rcnn_test_cfg is None:
            results.bboxes, results.scores = boxes, scores
            return results
        kept, results.labels = multiclass_nms(
            boxes, scores, rcnn_test_cfg.score_thr, rcnn_test_cfg.nms, rcnn_test_cfg.max_per_img
        )
        results.bboxes, results.scores = kept[:, :4], kept[:, 4]
        return results
