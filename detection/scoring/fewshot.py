"""An episode as arithmetic on embedded images: supports become representatives, queries are scored by one matrix product.

Shapes: N classes of the episode, K representatives a class, P boxes of an image, e embedding dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn
from torchvision.ops import box_iou

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.model_definitions.episode import kmeans_centres
from repmet.model_definitions.losses.repmet_detection import detection_logits
from repmet.model_definitions.representatives import posterior, squared_distances
from repmet.model_definitions.roi_layers import batched_nms

Supports = Sequence[Sequence[tuple[str, int]]]  # by class, (image id, index of the box)


@dataclass(frozen=True, kw_only=True)
class FewShotRule:
    """How supports become representatives and queries become detections; the defaults are RepMet's.

    Attributes:
        sigma, scale: of the posterior and the softmax, those that the head was trained with.
        support_iou: proposals with at least this IoU to a support box stand for it; without one the box itself does. None:
            the box itself always does, which is what was marked, where a proposal is a little beside it.
        support_rois: at most this many of them a box, the best first.
        support_views: 1, or so many views of a support image whose embeddings all stand for its boxes: 2 with the mirror
            image, 8 with all quarter turns too, for things seen from above (`detection.embedding.views`).
        modes: representatives of a class at most, by k-means of its support embeddings; 1 is their mean, which suits a head
            that was trained with one mode. None, as in the released code: max(5, 2 x shot).
        nms: IoU above which the weaker of two boxes of a class is dropped.
        dummy_columns: columns in the softmax that stand for classes outside the episode, each at squared distance 2 (the
            released code keeps its base classes so; 0: only the episode's classes and the background compete).
        base_columns: the base classes compete as themselves, by the representatives that the head was trained with: what is
            surely a car is no motorbike. Where RepMet's own embedding is used (`detection.scoring.methods`); off in RepMet.
        objectness: multiply the scores by the proposal's objectness. RepMet's background is only what no support claims, so
            a support that resembles the ground claims all of it, at scores that outrank every object of other episodes;
            what the proposal network learnt about objects of any class forbids that. Off in RepMet.
        negative_iou, negative_weight: of `np_repmet` (`scoring.methods`): from which overlap and below which a proposal is
            a negative of its support box, and how much nearness to it counts.
        calibration: of `calibrated`: the share of the cosine, in [0, 1].
        cosine_scale, classifier_decay: of `tfa_cosine` and `baseline_ft`: the factor before the softmax, weight decay.
    """

    sigma: float = 0.5
    scale: float = 15.0
    support_iou: float | None = 0.7
    support_rois: int = 1
    support_views: int = 1
    modes: int | None = None
    nms: float = 0.3
    dummy_columns: int = 0
    base_columns: bool = False
    objectness: bool = False
    negative_iou: tuple[float, float] = (0.2, 0.3)
    negative_weight: float = 0.2
    calibration: float = 0.5
    cosine_scale: float = 20.0
    classifier_decay: float = 1e-3

    def modes_for(self, shot: int) -> int:
        """Representatives of a class at most, at a number of shots."""
        return max(5, 2 * shot) if self.modes is None else self.modes


def few_shot_rule(cfg: Config) -> FewShotRule:
    """The experiment's `episodes` section with the head's own sigma and scale."""
    head, section = cfg.model.roi_head.bbox_head, cfg.get("episodes") or {}
    trained = {key: head[key] for key in ("sigma", "scale") if key in head}
    asked = {f.name: section[f.name] for f in fields(FewShotRule) if f.name in section}
    return FewShotRule(**trained, **asked)


def support_embeddings(
    image: EmbeddedImage, box: int, record_box: Sequence[float], rule: FewShotRule, method: str
) -> Tensor:
    """The embeddings that stand for one support box, (1..support_rois + support_views - 1, e).

    Args:
        image: the embedded support image.
        box: index of the support box among the image's annotated boxes.
        record_box: that box, x1, y1, x2, y2.
    """
    own = _in_its_image(image, box, record_box, rule, method)
    return own if rule.support_views == 1 else torch.cat([own, image.views[method][:, box]])


def _in_its_image(image: EmbeddedImage, box: int, record_box: Sequence[float], rule: FewShotRule, method: str) -> Tensor:
    if rule.support_iou is None:
        return image.annotated[method][box][None]
    iou = box_iou(torch.as_tensor(record_box, dtype=torch.float32)[None], image.proposals)[0]  # (P,)
    best = iou.argsort(descending=True, stable=True)[: rule.support_rois]
    best = best[iou[best] >= rule.support_iou]
    return image.embeddings[method][best] if len(best) else image.annotated[method][box][None]


def episode_representatives(supports: Sequence[Sequence[Tensor]], modes: int) -> Tensor:
    """RepMet's representatives of an episode: the support embeddings, or the centres of k-means where a class has more.

    Args:
        supports: per class, the embeddings (n, e) of each of its support boxes.
        modes: K >= 1, representatives of a class at most.

    Returns:
        (N, K, e) of unit length.
    """
    flat = [torch.cat(list(boxes)) for boxes in supports]
    labels = torch.cat([torch.full((len(v),), c) for c, v in enumerate(flat)])
    return F.normalize(kmeans_centres(torch.cat(flat), labels, len(flat), modes), dim=-1)


def support_representatives(
    supports: Supports,
    embedded: Mapping[str, EmbeddedImage],
    records: Mapping[str, ImageRecord],
    rule: FewShotRule,
    method: str,
    modes: int | None = None,
) -> Tensor:
    """The representatives (N, K, e) of the classes of which `supports` are boxes.

    Args:
        supports: by class, (image id, index of the box).
        embedded, records: the support images by id.
        method: whose embeddings to use, one of `detection.embedding.embedded_image.METHODS`.
        modes: K at most; None: as many as the rule has for so many shots.
    """
    by_class = [[support_embeddings(embedded[i], b, records[i].boxes[b], rule, method) for i, b in own] for own in supports]
    return episode_representatives(by_class, rule.modes_for(max(map(len, supports))) if modes is None else modes)


def stacked(first: Tensor, second: Tensor) -> Tensor:
    """Representatives (N, K, e) and (N', K', e) as those of N + N' classes, with the larger K.

    The class with fewer modes repeats its first, which changes no distance to the nearest mode.
    """
    most = max(first.shape[1], second.shape[1])
    return torch.cat([torch.cat([r, r[:, :1].expand(-1, most - r.shape[1], -1)], 1) for r in (first, second)])


def base_representatives(head: nn.Module, rule: FewShotRule) -> Tensor | None:
    """The trained representatives (N_b, K, e) of a box head, where the rule lets the base classes compete."""
    return head.representatives.points.detach().cpu() if rule.base_columns else None


def class_scores(embeddings: Tensor, representatives: Tensor, rule: FewShotRule, base: Tensor | None = None) -> Tensor:
    """(B, e) against (N, K, e) -> probabilities of the episode's classes (B, N).

    The shares of the background and of the classes whose representatives are `base` (N_b, K', e) are left out.
    """
    points = representatives if base is None else stacked(representatives, base)
    return scores_at(squared_distances(embeddings, points), rule)[:, : len(representatives)]


def scores_at(d2: Tensor, rule: FewShotRule) -> Tensor:
    """`class_scores` from the squared distances (B, N, K)."""
    logits = detection_logits(d2, rule.sigma, rule.scale)  # (B, N + 1)
    if rule.dummy_columns:
        dummy = rule.scale * posterior(logits.new_full((1, 1), 2.0), rule.sigma)  # at right angles to every embedding
        logits = torch.cat([logits, dummy.expand(len(logits), rule.dummy_columns)], -1)
    return logits.softmax(-1)[:, : d2.shape[1]]


def detect(
    images: Sequence[EmbeddedImage], representatives: Tensor, rule: FewShotRule, method: str, base: Tensor | None = None
) -> list[np.ndarray]:
    """Detections of every image, rows `class, score, x1, y1, x2, y2` with class 0..N-1, after NMS per class.

    No score floor and no cap per image, as in the released protocol.
    """
    scores = class_scores(torch.cat([i.embeddings[method] for i in images]), representatives, rule, base)  # (sum P, N)
    return [rows.numpy() for rows, _ in after_nms(images, scores, rule)]


def after_nms(images: Sequence[EmbeddedImage], scores: Tensor, rule: FewShotRule) -> list[tuple[Tensor, Tensor]]:
    """Objectness, where the rule asks for it, and NMS class by class.

    All images in one pass: an episode has dozens, and each has few boxes.

    Args:
        scores: (sum P, N), of the proposals of all images.

    Returns:
        By image, rows `class, score, x1, y1, x2, y2` (n, 6), class by class, and each one's proposal (n,).
    """
    counts = torch.tensor([len(i.boxes) for i in images])
    if rule.objectness:
        scores = scores * torch.cat([i.objectness for i in images])[:, None]
    classes = scores.shape[1]
    image = torch.arange(len(images)).repeat_interleave(counts)  # (sum P,)
    groups = (image[:, None] * classes + torch.arange(classes)).flatten()  # (sum P * N,)
    boxes = torch.cat([i.boxes for i in images])
    kept = batched_nms(boxes.repeat_interleave(classes, 0), scores.flatten(), groups, rule.nms)
    kept = kept[groups[kept].argsort(stable=True)]  # by image and class, the best first as they came
    proposal = kept // classes
    rows = torch.cat([(kept % classes)[:, None].to(scores), scores.flatten()[kept, None], boxes[proposal]], 1)
    found = image[proposal].bincount(minlength=len(images)).tolist()
    first = (counts.cumsum(0) - counts)[image[proposal]]
    return list(zip(rows.split(found), (proposal - first).split(found), strict=True))
