"""A new last layer for the classes of a support set: linear (RepMet, table 2, baseline-FT) or by cosines (TFA).

Shapes: N classes, P proposals, G annotated boxes of an image, R training rows, f features.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from repmet.detection.embedding.embedded_image import EmbeddedImage, raw_features
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.scorer import ClassScorer

BACKGROUND = 64  # proposals of a support image that teach a classifier what is no object


@dataclass(frozen=True, kw_only=True, eq=False)
class LastLayer(ClassScorer):
    """`baseline_ft` and `tfa_cosine`: softmax over N classes and the background from RoI features.

    Attributes:
        weight, bias: (N + 1, f) and (N + 1,), the background last.
        scale: of the cosines; None: a linear layer.
    """

    weight: Tensor
    bias: Tensor
    scale: float | None = None

    @classmethod
    def learn(cls, supports: SupportSet, rule: FewShotRule, *, scale: float | None = None) -> "LastLayer":
        features, labels = training_rows(supports)
        weights = quota(labels, len(supports))
        weight, bias = fit_classifier(features, labels, len(supports), weights, scale=scale, decay=rule.classifier_decay)
        return cls(rule=rule, weight=weight, bias=bias, scale=scale)

    def scores(self, image: EmbeddedImage) -> Tensor:
        return linear_logits(raw_features(image), self.weight, self.bias, self.scale).softmax(-1)[:, :-1]


def training_rows(supports: SupportSet) -> tuple[Tensor, Tensor]:
    """What the supports teach a classifier: features (R, f), labels (R,) with N for background.

    A proposal is of the class of the support box that it overlaps by 0.5 or more, background where it overlaps no annotated
    box by 0.5, and left out where it overlaps an object that is not among the supports: that one is not labelled, which does
    not make it background. Of an image's background come the `BACKGROUND` proposals that look most like objects, about as
    many as Faster R-CNN would sample. The support boxes themselves come too.
    """
    features, labels = [], []
    for i, boxes in supports.by_image.items():
        image, record = supports.embedded[i], supports.records[i]
        shown = list(boxes)
        iou = box_iou(torch.as_tensor(record.boxes, dtype=torch.float32), image.proposals)  # (G, P)
        best, nearest = iou[shown].max(0)
        label = torch.tensor([boxes[b] for b in shown])[nearest]
        label[best < 0.5] = len(supports)
        others = [g for g in range(len(record.boxes)) if g not in boxes]
        unknown = (iou[others].amax(0) >= 0.5) & (best < 0.5) if others else torch.zeros_like(best, dtype=torch.bool)
        background = label == len(supports)
        rank = (image.objectness.masked_fill(~background | unknown, -1)).argsort(descending=True, stable=True).argsort()
        unknown |= background & (rank >= BACKGROUND)
        features += [raw_features(image)[~unknown], raw_features(image, annotated=True)[shown]]
        labels += [label[~unknown], torch.tensor([boxes[b] for b in shown])]
    return torch.cat(features), torch.cat(labels)


def linear_logits(features: Tensor, weight: Tensor, bias: Tensor, scale: float | None) -> Tensor:
    """(R, f) -> (R, N + 1): `W f + b`, or with a scale `scale * cos(f, w_n)` (TFA, eq. 3)."""
    if scale is None:
        return features @ weight.T + bias
    return scale * F.normalize(features, dim=-1) @ F.normalize(weight, dim=-1).T


def quota(labels: Tensor, classes: int) -> Tensor:
    """How much each row (R,) counts: the objects a quarter together and the background the rest, Faster R-CNN's quota."""
    background = labels == classes
    return torch.where(background, 0.75 / background.sum().clamp_min(1), 0.25 / (~background).sum().clamp_min(1))


def fit_classifier(
    features: Tensor,
    labels: Tensor,
    classes: int,
    weights: Tensor,
    *,
    scale: float | None = None,
    decay: float = 1e-3,
    steps: int = 50,
) -> tuple[Tensor, Tensor]:
    """A last layer for N classes and background that minimises `sum_r a_r CE_r + decay |W|^2 / 2`, by L-BFGS from zero.

    Full batches and no random start: an episode's layer is a function of its supports alone. Features are divided by their
    mean length for the fit, so that `decay` means the same for every detector. The cosine layer starts at the class means,
    because a direction has no zero.

    Args:
        features, labels: (R, f) and (R,), N for the background.
        weights: a, (R,).

    Returns:
        weight (N + 1, f) and bias (N + 1,) for the features as they were given.
    """
    unit = features.norm(dim=-1).mean().clamp_min(1e-12)
    rows = (features / unit).double()
    if scale is None:
        start = rows.new_zeros(classes + 1, rows.shape[1])
    else:
        start = torch.stack([rows[labels == c].sum(0) for c in range(classes + 1)]) + 1e-6
    weight, bias = start.clone().requires_grad_(), rows.new_zeros(classes + 1).requires_grad_()
    unit_rows = F.normalize(rows, dim=-1)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-7)

    def closure() -> Tensor:
        optimizer.zero_grad()
        # as `linear_logits`, whose features are normalised once here
        logits = rows @ weight.T + bias if scale is None else scale * unit_rows @ F.normalize(weight, dim=-1).T
        loss = (weights * F.cross_entropy(logits, labels, reduction="none")).sum() + decay * weight.square().sum() / 2
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return (weight.detach() / unit).to(features.dtype), bias.detach().to(features.dtype)
