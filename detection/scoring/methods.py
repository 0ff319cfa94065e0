"""The methods that score an episode on images embedded once: from supports to class scores of any image's proposals.

repmet              posterior of the nearest representative (RepMet, CVPR 2019, eq. 2 and 3)
baseline_untrained  the same with the head as it was initialised
baseline_roi        baseline-DML: the same in the RoI features of the detector
np_repmet           NP-RepMet: representatives of what nearly is the object count against it (Yang et al., NeurIPS 2020)
calibrated          RepMet's scores blended with the cosine to the class mean of RoI features (prototypical calibration block
                    of DeFRCN, Qiao et al., ICCV 2021, with the detector's own features)
baseline_ft         baseline-FT: a new last layer, fitted to the supports' proposals (RepMet, table 2)
tfa_cosine          TFA: that layer a cosine classifier (Wang et al., ICML 2020, eq. 3)

Shapes: N classes of the episode, K representatives a class, P proposals, R training rows, f features, e dimensions.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import FEATURES, METHODS, EmbeddedImage, joined, raw_features
from repmet.detection.episodes.episode import Episode
from repmet.detection.scoring.fewshot import (
    FewShotRule,
    Supports,
    after_nms,
    class_scores,
    episode_representatives,
    scores_at,
    stacked,
    support_representatives,
)
from repmet.detection.scoring.finetune import labelled_boxes
from repmet.model_definitions.losses.negative_representatives import NEUTRAL, negative_distances
from repmet.model_definitions.representatives import squared_distances

BACKGROUND = 64  # proposals of a support image that teach a classifier what is no object
Scorer = Callable[[EmbeddedImage], Tensor]  # -> (P, N)
_IN_REPMET = {"repmet", "np_repmet"}
SCORED = (*METHODS, "np_repmet", "calibrated", "baseline_ft", "tfa_cosine")


def make_scorer(
    method: str,
    supports: Supports,
    embedded: Mapping[str, EmbeddedImage],
    records: Mapping[str, ImageRecord],
    rule: FewShotRule,
    base: Tensor | None = None,
) -> Scorer:
    """The scores that a method gives after it has seen an episode's supports.

    Args:
        method: one of `SCORED`.
        supports: the support boxes of every class.
        embedded, records: the support images by id.
        base: (N_b, K', e), of classes that compete without being looked for, where the scores come from RepMet's embedding
            (`repmet`, `np_repmet`, `calibrated`).

    Raises:
        ValueError: there is no such method.
    """
    check_methods([method])
    if method in ("baseline_ft", "tfa_cosine"):
        features, labels = training_rows(supports, embedded, records)
        scale = rule.cosine_scale if method == "tfa_cosine" else None
        weight, bias = fit_classifier(features, labels, len(supports), scale=scale, decay=rule.classifier_decay)
        return lambda image: linear_logits(raw_features(image), weight, bias, scale).softmax(-1)[:, :-1]
    space = method if method in METHODS else "repmet"
    points = support_representatives(supports, embedded, records, rule, space)
    if method == "np_repmet":
        return _negative_scorer(points, supports, embedded, records, rule, base)
    if method == "calibrated":
        means = support_representatives(supports, embedded, records, rule, FEATURES, modes=1)[:, 0]  # (N, f)
        share = rule.calibration
        return lambda image: (
            (1 - share) * class_scores(image.embeddings["repmet"], points, rule, base)
            + share * (image.embeddings[FEATURES] @ means.T).clamp_min(0)
        )
    others = base if method == "repmet" else None
    return lambda image: class_scores(image.embeddings[space], points, rule, others)


def check_methods(methods: Sequence[str]) -> None:
    """Raises ValueError for a name that is none of `SCORED`."""
    for method in methods:
        if method not in SCORED:
            raise ValueError(f"no few-shot method {method!r}; there are {', '.join(SCORED)}")


def spaces_of(methods: Sequence[str]) -> tuple[str, ...]:
    """The embeddings to keep for some methods, of `METHODS`.

    RepMet's alone, for the sake of memory, where no method looks at others; else all, so that another choice of methods
    finds them kept.
    """
    return ("repmet",) if set(methods) <= _IN_REPMET else METHODS


def play_episode(
    episode: Episode,
    shot: int,
    embedded: Mapping[str, EmbeddedImage],
    support: Mapping[str, ImageRecord],
    rule: FewShotRule,
    method: str,
    base: Tensor | None = None,
) -> list[np.ndarray]:
    """Detections on every query slot of an episode (`Episode.slots`), rows as of `detection.scoring.fewshot.after_nms`.

    Args:
        episode: its classes number 0..N-1 in the result.
        shot: supports per class that are used.
        embedded, support: the embedded images, and the records of the support images, by id.
        method, base: as of `make_scorer`.
    """
    supports = [episode.support[name][:shot] for name in episode.classes]
    score = make_scorer(method, supports, embedded, support, rule, base)
    images = [embedded[image] for _, image in episode.slots]
    return [rows.numpy() for rows, _ in after_nms(images, score(joined(images)), rule)]


# --- negative representatives ----------------------------------------------------------------------------------------------


def negative_embeddings(
    image: EmbeddedImage, box: int, record: ImageRecord, rule: FewShotRule, method: str = "repmet"
) -> Tensor:
    """The proposals whose IoU with a support box is in `rule.negative_iou`, and with no annotated box above it, (n, e)."""
    low, high = rule.negative_iou
    iou = box_iou(torch.as_tensor(record.boxes, dtype=torch.float32), image.proposals)  # (G, P)
    near = (iou[box] >= low) & (iou[box] < high) & (iou.amax(0) < high)
    return image.embeddings[method][near]


def negative_space(image: EmbeddedImage) -> str:
    """Where negatives are told apart: in the embedding that was trained for them, if the head has one, else in RepMet's."""
    return "negative" if "negative" in image.embeddings else "repmet"


def _negative_scorer(
    points: Tensor,
    supports: Supports,
    embedded: Mapping[str, EmbeddedImage],
    records: Mapping[str, ImageRecord],
    rule: FewShotRule,
    base: Tensor | None,
) -> Scorer:
    own = [
        torch.cat([negative_embeddings(embedded[i], b, records[i], rule, negative_space(embedded[i])) for i, b in boxes])
        for boxes in supports
    ]
    has = [c for c, found in enumerate(own) if len(found)]
    modes = rule.modes_for(max(map(len, supports)))
    negatives = episode_representatives([[own[c]] for c in has], modes) if has else None  # (N', K', e)

    def score(image: EmbeddedImage) -> Tensor:
        d2 = squared_distances(image.embeddings["repmet"], points if base is None else stacked(points, base))
        if negatives is not None:
            away = d2.new_full((len(d2), d2.shape[1], negatives.shape[1]), NEUTRAL)
            away[:, has] = squared_distances(image.embeddings[negative_space(image)], negatives)
            d2 = negative_distances(d2, away, rule.negative_weight)
        return scores_at(d2, rule)[:, : len(points)]

    return score


# --- a new last layer ------------------------------------------------------------------------------------------------------


def training_rows(
    supports: Supports, embedded: Mapping[str, EmbeddedImage], records: Mapping[str, ImageRecord]
) -> tuple[Tensor, Tensor]:
    """What the supports teach a classifier: features (R, f), labels (R,) with N for background.

    A proposal is of the class of the support box that it overlaps by 0.5 or more, background where it overlaps no annotated
    box by 0.5, and left out where it overlaps an object that is not among the supports: that one is not labelled, which does
    not make it background. Of an image's background come the `BACKGROUND` proposals that look most like objects, about as
    many as Faster R-CNN would sample. The support boxes themselves come too.
    """
    features, labels = [], []
    for i, boxes in labelled_boxes(supports).items():
        image, record = embedded[i], records[i]
        own = list(boxes)
        iou = box_iou(torch.as_tensor(record.boxes, dtype=torch.float32), image.proposals)  # (G, P)
        best, nearest = iou[own].max(0)
        label = torch.tensor([boxes[b] for b in own])[nearest]
        label[best < 0.5] = len(supports)
        others = [g for g in range(len(record.boxes)) if g not in boxes]
        unknown = (iou[others].amax(0) >= 0.5) & (best < 0.5) if others else torch.zeros_like(best, dtype=torch.bool)
        background = label == len(supports)
        rank = (image.objectness.masked_fill(~background | unknown, -1)).argsort(descending=True, stable=True).argsort()
        unknown |= background & (rank >= BACKGROUND)
        features += [raw_features(image)[~unknown], raw_features(image, annotated=True)[own]]
        labels += [label[~unknown], torch.tensor([boxes[b] for b in own])]
    return torch.cat(features), torch.cat(labels)


def linear_logits(features: Tensor, weight: Tensor, bias: Tensor, scale: float | None) -> Tensor:
    """(R, f) -> (R, N + 1): `W f + b`, or with a scale `scale * cos(f, w_n)` (TFA, eq. 3)."""
    if scale is None:
        return features @ weight.T + bias
    return scale * F.normalize(features, dim=-1) @ F.normalize(weight, dim=-1).T


def classifier_loss(logits: Tensor, labels: Tensor, weight: Tensor, decay: float) -> Tensor:
    """Cross-entropy of logits (R, N + 1), a quarter of it from the objects and the rest from the background (Faster R-CNN's
    quota), plus `decay |W|^2 / 2`."""
    background = labels == len(weight) - 1
    share = torch.where(background, 0.75 / background.sum().clamp_min(1), 0.25 / (~background).sum().clamp_min(1))
    losses = F.cross_entropy(logits, labels, reduction="none")
    return (share * losses).sum() + decay * weight.square().sum() / 2


def fit_classifier(
    features: Tensor, labels: Tensor, classes: int, *, scale: float | None = None, decay: float = 1e-3, steps: int = 50
) -> tuple[Tensor, Tensor]:
    """A last layer for N classes and background that minimises `classifier_loss`, by L-BFGS from zero.

    Full batches and no random start: an episode's layer is a function of its supports alone. Features are divided by their
    mean length for the fit, so that `decay` means the same for every detector. The cosine layer starts at the class means,
    because a direction has no zero.

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
        loss = classifier_loss(logits, labels, weight, decay)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return (weight.detach() / unit).to(features.dtype), bias.detach().to(features.dtype)
