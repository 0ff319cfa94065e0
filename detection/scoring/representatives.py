"""The supports that show classes, and the representatives computed from them.

Shapes: N classes, K representatives a class, P proposals of an image, G annotated boxes of it, e embedding dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage, with_annotated
from repmet.detection.episodes.episode import Episode
from repmet.detection.episodes.open_image import image_key, with_boxes
from repmet.detection.scoring.rule import FewShotRule
from repmet.model_definitions.episode import kmeans_centres


@dataclass(frozen=True)
class SupportSet:
    """The marked boxes that show some classes, with their images.

    Attributes:
        classes: names; a class's number is its place.
        boxes: by class, in the same order, (image id, index among the image's annotated boxes).
        records, embedded: the images by id; others may be among them.
        rejected: by class, in the same form, boxes that somebody has said not to be of it; empty: none.
    """

    classes: tuple[str, ...]
    boxes: Sequence[Sequence[tuple[str, int]]]
    records: Mapping[str, ImageRecord]
    embedded: Mapping[str, EmbeddedImage]
    rejected: Sequence[Sequence[tuple[str, int]]] = ()

    @classmethod
    def of(
        cls, episode: Episode, shot: int, records: Mapping[str, ImageRecord], embedded: Mapping[str, EmbeddedImage]
    ) -> "SupportSet":
        """The first `shot` supports of each class of an episode."""
        return cls(episode.classes, [episode.support[name][:shot] for name in episode.classes], records, embedded)

    def __len__(self) -> int:
        """N."""
        return len(self.boxes)

    @property
    def shot(self) -> int:
        """Boxes of the class that has the most."""
        return max(map(len, self.boxes))

    @cached_property
    def by_image(self) -> dict[str, dict[int, int]]:
        """By support image, in the order in which they come: the class's number of each of its support boxes, by box."""
        numbers: dict[str, dict[int, int]] = {}
        for c, pairs in enumerate(self.boxes):
            for image, box in pairs:
                numbers.setdefault(image, {})[box] = c
        return numbers

    def joined(self, more: "SupportSet") -> "SupportSet":
        """With another one's boxes added: classes of the same name are one, and so are equal pictures, each of which then
        has the boxes of both. A region that is marked in one set is no background of the other's."""
        records, embedded = dict(self.records), dict(self.embedded)
        same = {image_key(record): i for i, record in records.items()}
        places: dict[str, tuple[str, int]] = {}  # of more's images: the id here, and how many boxes come before theirs
        for i, record in more.records.items():
            if (there := same.get(image_key(record))) is not None:
                places[i] = there, len(records[there].boxes)
                records[there] = with_boxes(records[there], record)
                embedded[there] = with_annotated(embedded[there], more.embedded[i])
            else:
                new = next(k for k in chain([i], (f"{i} ({n})" for n in count(2))) if k not in records)
                places[i] = new, 0
                records[new], embedded[new] = record, more.embedded[i]
        classes = tuple(dict.fromkeys([*self.classes, *more.classes]))

        def both(first: Sequence, second: Sequence) -> list[list[tuple[str, int]]]:
            here, there = (
                dict(zip(s.classes, pairs or [()] * len(s.classes), strict=True))
                for s, pairs in ((self, first), (more, second))
            )
            moved = {c: [(places[i][0], places[i][1] + b) for i, b in pairs] for c, pairs in there.items()}
            return [[*here.get(c, ()), *moved.get(c, ())] for c in classes]

        return SupportSet(classes, both(self.boxes, more.boxes), records, embedded, both(self.rejected, more.rejected))

    def without(self, name: str) -> "SupportSet":
        """Without a class; its objects in the other classes' images are unlabelled ones then."""
        kept = [c for c, other in enumerate(self.classes) if other != name]
        rejected = [self.rejected[c] for c in kept] if self.rejected else ()
        return replace(
            self, classes=tuple(self.classes[c] for c in kept), boxes=[self.boxes[c] for c in kept], rejected=rejected
        )

    def renamed(self, name: str, new: str) -> "SupportSet":
        """With another name for a class."""
        return replace(self, classes=tuple(new if other == name else other for other in self.classes))

    def embeddings(self, rule: FewShotRule, space: str) -> list[list[Tensor]]:
        """By class and support box, its embeddings, (1..support_rois + other looks, e)."""
        return [
            [support_embeddings(self.embedded[i], b, self.records[i].boxes[b], rule, space) for i, b in pairs]
            for pairs in self.boxes
        ]

    def representatives(self, rule: FewShotRule, space: str, modes: int | None = None) -> Tensor:
        """The representatives of the classes, (N, K, e) of unit length.

        Args:
            space: what the embeddings come from, one of `detection.embedding.embedded_image.SPACES`.
            modes: K at most; None: as many as the rule has for so many shots.
        """
        modes = rule.modes_for(self.shot) if modes is None else modes
        return episode_representatives(self.embeddings(rule, space), modes)


def support_embeddings(image: EmbeddedImage, box: int, record_box: Sequence[float], rule: FewShotRule, space: str) -> Tensor:
    """The embeddings of one support box, (1..support_rois + other looks, e).

    Args:
        image: the embedded support image.
        box: index of the support box among the image's annotated boxes.
        record_box: that box, x1, y1, x2, y2.
    """
    as_it_is = _in_its_image(image, box, record_box, rule, space)
    return as_it_is if not rule.other_looks else torch.cat([as_it_is, image.views[space][:, box]])


def _in_its_image(image: EmbeddedImage, box: int, record_box: Sequence[float], rule: FewShotRule, space: str) -> Tensor:
    if rule.support_iou is None:
        return image.annotated[space][box][None]
    iou = box_iou(torch.as_tensor(record_box, dtype=torch.float32)[None], image.proposals)[0]  # (P,)
    best = iou.argsort(descending=True, stable=True)[: rule.support_rois]
    best = best[iou[best] >= rule.support_iou]
    return image.embeddings[space][best] if len(best) else image.annotated[space][box][None]


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


def base_representatives(head: nn.Module, rule: FewShotRule) -> Tensor | None:
    """The trained representatives (N_b, K, e) of a box head, where the rule lets the base classes compete."""
    return head.representatives.points.detach().cpu() if rule.base_columns else None
