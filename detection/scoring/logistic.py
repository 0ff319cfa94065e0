"""`logistic`: a class-balanced logistic regression on frozen RoI features, with the marked images' own background.

RepMet's background is what no support claims; here it is learnt from the images that the marks came with, whose other
regions are the best evidence there is of what the classes are not. It is fitted in milliseconds and needs no training.

Shapes: N classes, P proposals of an image, G annotated boxes of it, R training rows, f features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from repmet.detection.embedding.embedded_image import FEATURES, EmbeddedImage
from repmet.detection.scoring.last_layer import fit_classifier
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import ClassScorer

OBJECT_IOU = 0.6  # a proposal that overlaps a mark by so much is one more view of its object
BACKGROUND_IOU = 0.3  # one that overlaps no annotated box by so much is background


@dataclass(frozen=True, kw_only=True, eq=False)
class LogisticRegression(ClassScorer):
    """Softmax over N classes and the background, linear in unit RoI features x:

    `p(c | x) = exp(w_c x + b_c) / sum_k exp(w_k x + b_k)`, the background last.

    Attributes:
        weight, bias: (N + 1, f) and (N + 1,).
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def learn(cls, supports: SupportSet, rule: FewShotRule) -> "LogisticRegression":
        """Fits `sum_r a_r CE(x_r, y_r) + decay |W|^2 / 2`; the weights a_r of each class sum to 1 / (N + 1)."""
        features, labels, weights = training_rows(supports)
        totals = weights.new_zeros(len(supports) + 1).index_add_(0, labels, weights)  # (N + 1,)
        weights = weights / (totals[labels] * (totals > 0).sum())
        weight, bias = fit_classifier(features, labels, len(supports), weights, decay=rule.logistic_decay)
        return cls(rule=rule, weight=weight, bias=bias)

    def scores(self, image: EmbeddedImage) -> Tensor:
        return (image.embeddings[FEATURES] @ self.weight.T + self.bias).softmax(-1)[:, :-1]


def training_rows(supports: SupportSet) -> tuple[Tensor, Tensor, Tensor]:
    """What the marked images teach: features (R, f), labels (R,) with N for the background, weights (R,).

    A mark counts 1, and so do its views (`rule.support_views`); a proposal that overlaps it by `OBJECT_IOU` or more counts
    its IoU. A proposal that overlaps no annotated box by `BACKGROUND_IOU`, whether that box is a mark or not, is background
    and counts its objectness: what resembles an object is what has to be told apart.
    """
    features, labels, weights = [], [], []
    for name, boxes in supports.by_image.items():
        image = supports.embedded[name]
        marked = list(boxes)
        classes = torch.tensor([boxes[b] for b in marked])
        iou = box_iou(torch.as_tensor(supports.records[name].boxes, dtype=torch.float32), image.proposals)  # (G, P)
        rows = image.embeddings[FEATURES]
        features.append(image.annotated[FEATURES][marked])
        labels.append(classes)
        weights.append(torch.ones(len(marked)))
        if image.views is not None:
            for view in image.views[FEATURES]:  # (G, f)
                features.append(view[marked])
                labels.append(classes)
                weights.append(torch.ones(len(marked)))
        if not len(rows):
            continue
        best, nearest = iou[marked].max(0)  # (P,)
        objects, background = best >= OBJECT_IOU, iou.amax(0) < BACKGROUND_IOU
        features += [rows[objects], rows[background]]
        labels += [classes[nearest[objects]], torch.full((int(background.sum()),), len(supports))]
        weights += [best[objects], image.objectness[background]]
    return torch.cat(features), torch.cat(labels), torch.cat(weights)
