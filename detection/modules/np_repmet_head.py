"""The box head of NP-RepMet: RepMet's, with an embedding and representatives of what nearly is an object of a class.

Shapes: R regions of a batch, N foreground classes, K modes, e embedding dimensions.
"""

import torch
import torch.nn.functional as F
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor, nn

from repmet.detection.modules.repmet_head import RepMetBBoxHead
from repmet.model_definitions.losses.negative_representatives import negative_distances, negative_loss
from repmet.model_definitions.representatives import Representatives, margin_loss


@MODELS.register_module()
class NPRepMetBBoxHead(RepMetBBoxHead):
    """`RepMetBBoxHead` whose distances are those of `negative_distances` (NP-RepMet, NeurIPS 2020).

    A second linear layer embeds a region among N x K negative representatives. In training the regions that overlap an
    object by an IoU in `negative_iou` are near to its class and make `loss_negative` (see `negative_loss`), the mean over
    all regions; `loss_embed` stays RepMet's, on the positive distances. Background is 1 - max s as in RepMet (the released
    detector takes half of the maximum).

    Args:
        num_classes: N.
        negative_weight: how much nearness to a negative counts in a distance.
        negative_iou: the overlap with an object from which, and below which, a region is near to it.
        negative_loss_weight: of `loss_negative`.
        kwargs: as `RepMetBBoxHead`.
    """

    def __init__(
        self,
        num_classes: int = 80,
        *,
        negative_weight: float = 0.2,
        negative_iou: tuple[float, float] = (0.2, 0.3),
        negative_loss_weight: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        _, modes, dim = self.representatives.weight.shape
        self.fc_negative = nn.Linear(self.fc_embed.in_features, dim)
        self.negatives = Representatives(num_classes, modes, dim, normalize=self.representatives.normalize, separable=False)
        self.negative_weight, self.negative_loss_weight = negative_weight, negative_loss_weight
        self.negative_iou = tuple(negative_iou)

    def embed_negative(self, features: Tensor) -> Tensor:
        """(R, f) -> unit embeddings among the negatives (R, e)."""
        return F.normalize(self.fc_negative(features), dim=-1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `RepMetBBoxHead`, the distances joined; behind them the positive and the negative ones, (R, N*K) each."""
        features, box_features = self.roi_features(x)
        positive = self.representatives(self.embed(features))  # (R, N, K)
        negative = self.negatives(self.embed_negative(features))  # (R, N, K)
        scores = [negative_distances(positive, negative, self.negative_weight).flatten(1)]
        if self.training and self.fc_aux is not None:
            scores.append(self.fc_aux(features))
        return torch.cat([*scores, positive.flatten(1), negative.flatten(1)], -1), self.fc_reg(box_features)

    def apart(self, cls_score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` gave: the scores as of `RepMetBBoxHead`, positive and negative distances (R, N, K)."""
        classes, modes, _ = self.representatives.weight.shape
        scores, positive, negative = cls_score.split(
            [cls_score.shape[1] - 2 * classes * modes, classes * modes, classes * modes], dim=1
        )
        return scores, positive.unflatten(1, (classes, modes)), negative.unflatten(1, (classes, modes))

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor | None,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        *args,
        reduction_override: str | None = None,
        **kwargs,
    ) -> dict[str, Tensor]:
        """The losses of `RepMetBBoxHead`; `loss_negative` needs the objects and comes in `loss_and_target`."""
        scores, positive, _ = self.apart(cls_score)
        losses = super().loss(
            scores, bbox_pred, rois, labels, label_weights, *args, reduction_override=reduction_override, **kwargs
        )
        foreground = labels < self.num_classes
        embed = torch.zeros_like(label_weights, dtype=positive.dtype)
        embed[foreground] = margin_loss(positive[foreground], labels[foreground], self.margin, reduction="none")
        embed = self.embed_weight * embed * label_weights
        regions = (label_weights > 0).sum().clamp_min(1)
        return losses | {"loss_embed": embed if reduction_override == "none" else embed.sum() / regions}

    def loss_and_target(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        sampling_results: list[SamplingResult],
        rcnn_train_cfg: dict,
        concat: bool = True,
        reduction_override: str | None = None,
    ) -> dict:
        """mmdet's, with `loss_negative`."""
        result = super().loss_and_target(
            cls_score, bbox_pred, rois, sampling_results, rcnn_train_cfg, concat, reduction_override
        )
        labels, label_weights, *_ = result["bbox_targets"]
        values = negative_loss(self.apart(cls_score)[2], labels, self.near_labels(sampling_results))
        values = self.negative_loss_weight * values * label_weights
        if reduction_override != "none":
            values = values.sum() / (label_weights > 0).sum().clamp_min(1)
        result["loss_bbox"]["loss_negative"] = values
        return result

    def near_labels(self, sampling_results: list[SamplingResult]) -> Tensor:
        """The class that each region nearly is, N for none, in the order of the regions: (R,).

        Objects are those that have a positive region (with the ground truth among the proposals, all that were sampled).
        """
        low, high = self.negative_iou
        labels = []
        for result in sampling_results:
            near = result.neg_priors.new_full((len(result.priors),), self.num_classes, dtype=torch.long)
            if len(result.pos_priors) and len(result.neg_priors):
                iou, which = bbox_overlaps(result.neg_priors, result.pos_gt_bboxes).max(1)
                inside = (iou >= low) & (iou < high)
                near[len(result.pos_priors) :][inside] = result.pos_gt_labels[which[inside]]
            labels.append(near)
        return torch.cat(labels)
