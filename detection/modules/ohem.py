"""Online hard example mining as RepMet does it: one ranking of all regions of an image, without a foreground quota."""

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import BaseSampler, SamplingResult
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox2roi
from torch import Tensor


@TASK_UTILS.register_module()
class RepMetOHEMSampler(BaseSampler):
    """Keeps the `num` regions of largest `cross-entropy + sum of smooth L1 over the box`, of all proposals and GT boxes.

    Positives get no share of their own (the released detector's `BATCH_ROIS -1`, `BATCH_ROIS_OHEM 512`; mmdet's
    `OHEMSampler` ranks positives and negatives apart). Works with `RepMetBBoxHead` and with mmdet's heads.

    Args:
        num: regions kept per image; all of them where there are fewer.
        context: the RoI head, filled in by mmdet.
        add_gt_as_proposals: let the ground-truth boxes compete too.
    """

    def __init__(self, num: int, context, add_gt_as_proposals: bool = True) -> None:
        super().__init__(num=num, pos_fraction=1.0, add_gt_as_proposals=add_gt_as_proposals)
        self.context = context

    def _sample_pos(self, assign_result, num_expected: int, **kwargs) -> Tensor:
        return (assign_result.gt_inds > 0).nonzero().flatten()

    def _sample_neg(self, assign_result, num_expected: int, **kwargs) -> Tensor:
        return (assign_result.gt_inds == 0).nonzero().flatten()

    def sample(self, assign_result, pred_instances, gt_instances, *, feats: list[Tensor]) -> SamplingResult:
        regions = super().sample(assign_result, pred_instances, gt_instances)  # every one: the two methods above
        priors, positives = regions.priors, len(regions.pos_inds)
        if len(priors) <= self.num:
            return regions
        kept = self.region_losses(regions, feats).topk(self.num).indices.sort().values
        order = torch.cat([regions.pos_inds, regions.neg_inds])
        return SamplingResult(
            pos_inds=kept[kept < positives],
            neg_inds=kept[kept >= positives],
            priors=priors,
            gt_bboxes=gt_instances.bboxes,
            assign_result=AssignResult(
                assign_result.num_gts,
                assign_result.gt_inds[order],
                assign_result.max_overlaps[order],
                assign_result.labels[order],
            ),
            gt_flags=torch.cat([regions.pos_is_gt, regions.pos_is_gt.new_zeros(len(priors) - positives)]),
        )

    @torch.no_grad()
    def region_losses(self, result: SamplingResult, feats: list[Tensor]) -> Tensor:
        """The ranking: classification loss plus the box loss summed over coordinates, for positives then negatives."""
        roi_head = self.context
        rois = bbox2roi([result.priors])
        training = roi_head.training
        roi_head.eval()  # ranking is a look: it leaves batch statistics alone
        outputs = roi_head._bbox_forward(feats, rois)
        roi_head.train(training)
        targets = roi_head.bbox_head.get_targets([result], roi_head.train_cfg)
        losses = roi_head.bbox_head.loss(
            outputs["cls_score"], outputs["bbox_pred"], rois, *targets, reduction_override="none"
        )
        total = losses["loss_cls"].clone()
        if len(result.pos_inds):  # mmdet returns the box loss of the positives alone
            total[: len(result.pos_inds)] += losses["loss_bbox"].sum(-1)
        return total
