"""Negative representatives: what nearly is the object counts against it (NP-RepMet, Yang et al., NeurIPS 2020).

Shapes: N classes, N' of them with negatives, K and K' representatives a class, P proposals, G annotated boxes of an image,
e embedding dimensions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.scoring.class_scores import lengthened, scores_at, stacked
from repmet.detection.scoring.representatives import SupportSet, episode_representatives
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import ClassScorer
from repmet.model_definitions.representatives import squared_distances


def negative_embeddings(
    image: EmbeddedImage, box: int, record: ImageRecord, rule: FewShotRule, space: str = "repmet"
) -> Tensor:
    """The proposals whose IoU with a support box is in `rule.negative_iou`, and with no annotated box above it, (n, e)."""
    low, high = rule.negative_iou
    iou = box_iou(torch.as_tensor(record.boxes, dtype=torch.float32), image.proposals)  # (G, P)
    near = (iou[box] >= low) & (iou[box] < high) & (iou.amax(0) < high)
    return image.embeddings[space][near]


def negative_space(image: EmbeddedImage) -> str:
    """Where negatives are told apart: in the embedding that was trained for them, if the head has one, else in RepMet's."""
    return "negative" if "negative" in image.embeddings else "repmet"


@dataclass(frozen=True, kw_only=True, eq=False)
class NegativeRepresentatives(ClassScorer):
    """`np_repmet`: RepMet's scores from distances that nearness to a class's negatives has lengthened.

    Attributes:
        representatives: (N, K, e), in RepMet's embedding.
        negatives: (N', K', e), of the classes of which there are some, in `negative_space`; None where there are none.
        classes_with: (N',) int64, the numbers of those classes.
        base: (N_b, K, e), of classes that compete without being looked for, or None.
    """

    representatives: Tensor
    negatives: Tensor | None
    classes_with: Tensor
    base: Tensor | None = None

    @classmethod
    def learn(cls, supports: SupportSet, rule: FewShotRule, base: Tensor | None = None) -> "NegativeRepresentatives":
        embedded, records = supports.embedded, supports.records
        by_class = [
            torch.cat([negative_embeddings(embedded[i], b, records[i], rule, negative_space(embedded[i])) for i, b in pairs])
            for pairs in supports.boxes
        ]
        having = [c for c, negatives in enumerate(by_class) if len(negatives)]
        modes = rule.modes_for(supports.shot)
        return cls(
            rule=rule,
            representatives=supports.representatives(rule, "repmet"),
            negatives=episode_representatives([[by_class[c]] for c in having], modes) if having else None,
            classes_with=torch.tensor(having, dtype=torch.long),
            base=base,
        )

    def distances(self, image: EmbeddedImage) -> Tensor:
        """Squared distances to all representatives, those of `base` behind the others, (P, N + N_b, K)."""
        points = self.representatives if self.base is None else stacked(self.representatives, self.base)
        d2 = squared_distances(image.embeddings["repmet"], points)
        if self.negatives is None:
            return d2
        away = squared_distances(image.embeddings[negative_space(image)], self.negatives)
        return lengthened(d2, away, self.classes_with, self.rule.negative_weight)

    def scores(self, image: EmbeddedImage) -> Tensor:
        return scores_at(self.distances(image), self.rule)[:, : len(self.representatives)]
