"""What marked images teach a classifier of regions: rows of objects, of rejected regions and of background.

Plain arrays, so that what has no torch learns by the same rules.

Shapes: N classes, P proposals of an image, M marks in it, J rejected regions, V views, R training rows, f features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from repmet.detection.metrics.iou import pairwise_iou

MARKS = ("partial", "complete")  # whether a marked image may hold objects that nobody has marked
OBJECT_IOU = 0.6  # a proposal that overlaps a mark by so much is one more view of its object
REGION_IOU = 0.7  # boxes that overlap by so much are one region, seen in two proposals or marked twice
BACKGROUND_IOU = 0.3  # one that overlaps no mark by so much is background
BACKGROUND = 500  # rows of background, those most like objects: more teach no more
STEPS_BACK = 20  # that `undo` can take: each keeps the training rows of its time, some 20 MB where much is marked
REJECTED = 2.0  # times a row of background counts a region that somebody has rejected
RESEMBLANCE = 0.25  # quantile of the cosines between a class's marks from which on an unmarked region may be of the class
KEPT = 0.25  # of the background stays at least so much, whatever it looks like
LONE_RESEMBLANCE = 0.5  # in its place where a class has one mark


@dataclass(frozen=True, eq=False)
class MarkedRegions:
    """One marked image.

    Attributes:
        proposals, features, objectness: (P, 4) in pixels, (P, f) of unit length, (P,).
        boxes, labels, marks: (M, 4), (M,) and (M, f) or with views (1 + V, M, f): the marked boxes, their classes, features.
        rejected, rejected_features: (J, 4) and (J, f), regions that are of no class.
        predicted: (P, 4), the boxes that are reported for the proposals; None: these themselves.
    """

    proposals: np.ndarray
    features: np.ndarray
    objectness: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    marks: np.ndarray
    rejected: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    rejected_features: np.ndarray | None = None
    predicted: np.ndarray | None = None

    @property
    def reported(self) -> np.ndarray:
        """(P, 4), where a find of a proposal is said to lie."""
        return self.proposals if self.predicted is None else self.predicted


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows.

    Attributes:
        features, labels, weights: (R, f), (R,) with N for the background, (R,) as they count among those of their class.
        images: (R,), the number of the image that each comes from.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    images: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: np.ndarray) -> "Rows":
        return Rows(self.features[rows], self.labels[rows], self.weights[rows], self.images[rows])

    def shares(self, classes: int) -> np.ndarray:
        """(R,): the weights, those of each class that is there summing to one part of the whole."""
        totals = np.bincount(self.labels, self.weights, classes + 1)
        return self.weights / (totals[self.labels] * np.count_nonzero(totals))

    @staticmethod
    def joined(parts: "Sequence[Rows]") -> "Rows":
        return Rows(*(np.concatenate([getattr(p, name) for p in parts]) for name in Rows.__dataclass_fields__))


def training_rows(images: Sequence[MarkedRegions], classes: int, marks: str = "partial") -> Rows:
    """The rows of N classes: objects and rejected regions image by image, then the background.

    A mark counts 1, and so do its views; a proposal that overlaps it by `OBJECT_IOU` or more counts its IoU. A rejected
    region, and the proposals over it, are background that counts `REJECTED` times, whatever else is known of them. A
    proposal that overlaps no mark by `BACKGROUND_IOU` is background and counts its objectness: what resembles an object is
    what has to be told apart. Annotated boxes that are no marks are not looked at, as a person has not drawn them.

    Args:
        marks: `complete`: all objects of the classes in these images are marked. `partial`: others may be there, so what
            resembles the marks is left out of the background, by the first step of learning from positive and unlabelled
            examples (reliable negatives; Liu et al., "Partially supervised classification of text documents", ICML 2002):
            a region stays if its cosine to the marks of each class is below the `RESEMBLANCE` quantile of the cosines
            that these have to one another. The share `KEPT` that resembles a class least stays in
            any case.
    """
    shown = [corrected_rows(image, number, classes) for number, image in enumerate(images)]
    ground = Rows.joined([_background(image, number, classes) for number, image in enumerate(images)])
    if marks == "partial" and len(ground):
        ground = ground[_reliable(ground.features, images, classes)]
    likeliest = np.argsort(-ground.weights, kind="stable")[:BACKGROUND]
    return Rows.joined([*shown, ground[np.sort(likeliest)]])


def corrected_rows(image: MarkedRegions, number: int, classes: int) -> Rows:
    """What an image's marks and rejected regions teach, without the rest of it."""
    views = image.marks if image.marks.ndim == 3 else image.marks[None]  # (1 + V, M, f)
    best, nearest = _overlap(image.boxes, image.proposals)
    refused, _ = _overlap(image.rejected, image.proposals)
    objects, taken = (best >= OBJECT_IOU) & (best >= refused), (refused >= OBJECT_IOU) & (refused > best)
    rejected = image.features[:0] if image.rejected_features is None else image.rejected_features
    if len(rejected) and len(image.boxes):  # what is marked as another class is no background
        rejected = rejected[pairwise_iou(image.rejected, image.boxes).max(1) < OBJECT_IOU]
    features = [*views, image.features[objects], rejected, image.features[taken]]
    counts = [len(image.labels)] * len(views)
    labels = [*[image.labels] * len(views), image.labels[nearest[objects]], np.full(len(rejected) + taken.sum(), classes)]
    weights = [np.ones(sum(counts)), best[objects], REJECTED * np.ones(len(rejected)), REJECTED * refused[taken]]
    labels, weights = np.concatenate(labels).astype(np.int64), np.concatenate(weights)
    return Rows(np.concatenate(features), labels, weights, np.full(len(labels), number))


def _background(image: MarkedRegions, number: int, classes: int) -> Rows:
    """The proposals that no mark touches; an image without a mark says nothing of its other regions."""
    best, _ = _overlap(np.concatenate([image.boxes, image.rejected]), image.proposals)
    ground = (best < BACKGROUND_IOU) & (len(image.boxes) > 0)
    count = int(ground.sum())
    return Rows(image.features[ground], np.full(count, classes), image.objectness[ground], np.full(count, number))


def _overlap(boxes: np.ndarray, proposals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each proposal (P,): the largest IoU with a box, and which box that is."""
    if not len(boxes) or not len(proposals):
        return np.zeros(len(proposals)), np.zeros(len(proposals), np.int64)
    iou = pairwise_iou(boxes, proposals)
    return iou.max(0), iou.argmax(0)


def _reliable(ground: np.ndarray, images: Sequence[MarkedRegions], classes: int) -> np.ndarray:
    """Which of the regions (B, f) resemble no class."""
    reliable = np.ones(len(ground), bool)
    for c in range(classes):
        centres = [(i.marks[0] if i.marks.ndim == 3 else i.marks)[i.labels == c] for i in images]
        centres = np.concatenate(centres)  # (M_c, f)
        if not len(centres):
            continue
        cosine = (ground @ centres.T).max(1)  # (B,)
        reliable &= cosine <= max(_resemblance(centres), np.quantile(cosine, KEPT))
    return reliable


def _resemblance(centres: np.ndarray) -> float:
    """From which cosine on a region resembles a class: a low quantile of those of its marks (M, f) to the nearest other."""
    if len(centres) == 1:
        return LONE_RESEMBLANCE
    cosines = centres @ centres.T
    np.fill_diagonal(cosines, -1)
    return float(np.quantile(cosines.max(1), RESEMBLANCE))
