"""`logistic`: a class-balanced logistic regression on frozen RoI features, with the marked images' own background.

RepMet's background is what no support claims; here it is learnt from the images that the marks came with, whose other
regions are the best evidence there is of what the classes are not. It is fitted in milliseconds and needs no training.

Shapes: N classes, P proposals of an image, M marks in it, R training rows, B of the background, f features.
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
BACKGROUND_IOU = 0.3  # one that overlaps no mark by so much is background
RESEMBLANCE = 0.25  # quantile of a class's own cosines from which on an unmarked region may be of the class
KEPT = 0.25  # of the background stays at least so much, whatever it looks like
LONE_RESEMBLANCE = 0.9  # the cosine itself, where a class has one region only and nothing to compare it with


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
        features, labels, weights = training_rows(supports, rule.marks)
        totals = weights.new_zeros(len(supports) + 1).index_add_(0, labels, weights)  # (N + 1,)
        weights = weights / (totals[labels] * (totals > 0).sum())
        weight, bias = fit_classifier(features, labels, len(supports), weights, decay=rule.logistic_decay)
        return cls(rule=rule, weight=weight, bias=bias)

    def scores(self, image: EmbeddedImage) -> Tensor:
        return (image.embeddings[FEATURES] @ self.weight.T + self.bias).softmax(-1)[:, :-1]


def training_rows(supports: SupportSet, marks: str = "partial") -> tuple[Tensor, Tensor, Tensor]:
    """What the marked images teach: features (R, f), labels (R,) with N for the background, weights (R,).

    A mark counts 1, and so do its views (`rule.support_views`); a proposal that overlaps it by `OBJECT_IOU` or more counts
    its IoU. A proposal that overlaps no mark by `BACKGROUND_IOU` is background and counts its objectness: what resembles an
    object is what has to be told apart. Annotated boxes that are no marks are not looked at, as a person has not drawn them.

    Args:
        marks: `complete`: all objects of the classes in these images are marked. `partial`: others may be there, so what
            resembles the marks is left out of the background, by the first step of learning from positive and unlabelled
            examples (reliable negatives; Liu et al., "Partially supervised classification of text documents", ICML 2002):
            a region stays if its cosine to the marks of each class is below the `RESEMBLANCE` quantile of the cosines
            that the class's own regions have to them. The share `KEPT` that resembles a class least stays in
            any case.
    """
    shown = [_regions(supports, name) for name in supports.by_image]
    features = [torch.cat([r.features for r in shown])]
    labels = [torch.cat([r.labels for r in shown])]
    weights = [torch.cat([r.weights for r in shown])]
    background = torch.cat([r.background for r in shown])
    objectness = torch.cat([r.objectness for r in shown])
    if marks == "partial" and len(background):
        reliable = torch.ones(len(background), dtype=torch.bool)
        for c in range(len(supports)):
            members = features[0][labels[0] == c]
            centres = torch.cat([r.marks[r.mark_labels == c] for r in shown])
            cosine = (background @ centres.T).amax(1)  # (B,)
            reliable &= cosine <= torch.maximum(_resemblance(members, centres), torch.quantile(cosine, KEPT))
        background, objectness = background[reliable], objectness[reliable]
    return (
        torch.cat([*features, background]),
        torch.cat([*labels, torch.full((len(background),), len(supports))]),
        torch.cat([*weights, objectness]),
    )


def _resemblance(members: Tensor, centres: Tensor) -> Tensor:
    """From which cosine on a region resembles a class: a low quantile of those of its members (R_c, f) to its marks."""
    cosines = members @ centres.T  # (R_c, M)
    others = cosines.masked_fill(cosines > 1 - 1e-5, -1).amax(1)  # a mark is not compared with itself
    others = others[others > -1]
    return torch.quantile(others, RESEMBLANCE) if len(others) else others.new_tensor(LONE_RESEMBLANCE)


@dataclass(frozen=True)
class _Regions:
    """What one marked image gives."""

    features: Tensor  # (R, f), of its objects
    labels: Tensor  # (R,)
    weights: Tensor  # (R,)
    marks: Tensor  # (M, f), the marked boxes alone
    mark_labels: Tensor  # (M,)
    background: Tensor  # (B, f)
    objectness: Tensor  # (B,), of the background


def _regions(supports: SupportSet, name: str) -> _Regions:
    image, boxes = supports.embedded[name], supports.by_image[name]
    marked = list(boxes)
    classes = torch.tensor([boxes[b] for b in marked])
    marks = image.annotated[FEATURES][marked]  # (M, f)
    views = [] if image.views is None else [view[marked] for view in image.views[FEATURES]]
    iou = box_iou(torch.as_tensor(supports.records[name].boxes[marked], dtype=torch.float32), image.proposals)  # (M, P)
    best, nearest = iou.max(0) if iou.shape[1] else (iou.new_zeros(0), torch.zeros(0, dtype=torch.long))  # (P,)
    rows, objects, background = image.embeddings[FEATURES], best >= OBJECT_IOU, best < BACKGROUND_IOU
    return _Regions(
        features=torch.cat([marks, *views, rows[objects]]),
        labels=torch.cat([classes.repeat(1 + len(views)), classes[nearest[objects]]]),
        weights=torch.cat([torch.ones(len(marked) * (1 + len(views))), best[objects]]),
        marks=marks,
        mark_labels=classes,
        background=rows[background],
        objectness=image.objectness[background],
    )
