"""Per-episode fine-tuning of the embedding without the network: on what each support image's regions gave once.

With `FinetuneRule.train = "embedding"` everything before the embedding layer stays as it is, and so do proposals, boxes and
RoI features of every image. An episode then trains one layer and its representatives on kept features, and scores its
queries by one matrix product; the network does not run. Regions are assigned and sampled by the detector's own rules; they
come from the proposals of testing, where `detection.scoring.finetune` takes those of training.
"""

import copy
from collections.abc import Mapping

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage, raw_features
from repmet.detection.scoring.finetune import FinetuneRule, fit
from repmet.detection.scoring.representatives import SupportSet
from repmet.model_definitions.representatives import Representatives

Regions = tuple[Tensor, Tensor]  # RoI features (R, f), labels (R,) with N for background


def on_kept_features(model: nn.Module, rule: FinetuneRule) -> bool:
    """Whether a rule trains nothing but what comes after the kept features, with regions that need no network to choose.

    Hard examples (OHEM) are ranked by the network's losses, those of the boxes among them.
    """
    return rule.train == "embedding" and not hasattr(model.roi_head.bbox_sampler, "context")


def adapted_head(
    roi_head: nn.Module,
    supports: SupportSet,
    representatives: Tensor,
    rule: FinetuneRule,
) -> nn.Module:
    """A copy of the box head, on the CPU as the kept features are, fine-tuned on an episode's supports: the representatives
    and, unless the base training kept it fixed, the embedding.

    Args:
        roi_head: of a trained two-stage detector with a `RepMetBBoxHead`; it is left as it is.
        supports: the support boxes of every class, their images embedded with RoI features.
        representatives: (N, K, e), where the episode's begin.

    Raises:
        EpisodeDiverged: a loss is not finite, or in the end the weights.
    """
    head = copy.deepcopy(roi_head.bbox_head).cpu()
    trained = [p for p in head.fc_embed.parameters() if p.requires_grad]
    head.requires_grad_(False)
    head.representatives = Representatives(*representatives.shape, normalize=head.representatives.normalize)
    head.representatives.weight.data.copy_(representatives)
    head.fc_aux, head.num_classes = None, len(representatives)
    trained.append(head.representatives.weight)
    images = [
        _AssignedImage(supports.embedded[i], supports.records[i], numbers, roi_head)
        for i, numbers in supports.by_image.items()
    ]
    batches = [images[k : k + rule.batch_size] for k in range(0, len(images), rule.batch_size)]

    def losses(batch: list[_AssignedImage]) -> dict[str, Tensor]:
        parts = [image.sample(head.num_classes) for image in batch]
        features, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        scores = head.representatives(head.embed(features)).flatten(1)  # (R, N*K)
        return head.loss(scores, None, None, labels, torch.ones(len(labels)), None, None)

    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(rule.seed)
        fit([p.requires_grad_() for p in trained], batches, losses, rule)
    return head.requires_grad_(False)


class _AssignedImage:
    """The regions of a support image, matched with its boxes once; every epoch draws some of them anew."""

    def __init__(self, image: EmbeddedImage, record: ImageRecord, boxes: Mapping[int, int], roi_head: nn.Module) -> None:
        annotated = torch.as_tensor(record.boxes, dtype=torch.float32)
        shown = list(boxes)
        others = [b for b in range(len(annotated)) if b not in boxes]
        self.truth = InstanceData(bboxes=annotated[shown], labels=torch.tensor([boxes[b] for b in shown]))
        self.proposals = InstanceData(priors=image.proposals)
        ignored = InstanceData(bboxes=annotated[others])
        self.assigned = roi_head.bbox_assigner.assign(self.proposals, self.truth, ignored)
        self.sampler = roi_head.bbox_sampler
        features = [raw_features(image)]
        if self.sampler.add_gt_as_proposals:
            features.insert(0, raw_features(image, annotated=True)[shown])
        self.features = torch.cat(features)

    def sample(self, background: int) -> Regions:
        drawn = self.sampler.sample(copy.copy(self.assigned), self.proposals, self.truth)
        rows = torch.cat([drawn.pos_inds, drawn.neg_inds])
        labels = torch.cat([drawn.pos_gt_labels, drawn.neg_inds.new_full((len(drawn.neg_inds),), background)])
        return self.features[rows], labels
