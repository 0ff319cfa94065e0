"""What an exported detector was shown: images with marked and rejected boxes, and what the graph made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from repmet.data.readers.annotated_folder import class_names
from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.episodes.open_image import OpenImage, image_key, with_boxes
from repmet.detection.episodes.turned import view
from repmet.detection.exported.look import ExportedDetector, Seen
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.scoring.training_rows import REGION_IOU, MarkedRegions

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MarkedImage:
    """One image with its boxes.

    Attributes:
        record: the image; `names` are the classes that its boxes are of, or are not of where they are rejected.
        seen: what the graph made of it.
        marks: (V, G, f), the boxes' embeddings, in the image as it is and in its other views.
        rejected: (G,) bool.
    """

    record: OpenImage
    seen: Seen
    marks: Floats
    rejected: NDArray[np.bool_]

    def __len__(self) -> int:
        """G."""
        return len(self.rejected)

    def chosen(self, kept: NDArray[np.bool_]) -> MarkedImage:
        """With some of its boxes, by a mask (G,)."""
        record = replace(
            self.record,
            names=tuple(np.array(self.record.names, object)[kept]),
            boxes=self.record.boxes[kept],
            difficult=self.record.difficult[kept],
        )
        return replace(self, record=record, marks=self.marks[:, kept], rejected=self.rejected[kept])

    def contradicted(self, more: MarkedImage) -> NDArray[np.bool_]:
        """Which boxes (G,) those of the same picture contradict: a mark whatever was said of its region, a rejection the
        marks of its own class there."""
        same = pairwise_iou(self.record.boxes, more.record.boxes) >= REGION_IOU  # (G, G')
        names = np.array(self.record.names, object)[:, None] == np.array(more.record.names, object)[None]
        return (same & (~more.rejected[None] | (names & ~self.rejected[:, None]))).any(1)

    def joined(self, more: MarkedImage) -> MarkedImage:
        """With the boxes of another one of the same picture behind its own."""
        marks = np.concatenate([self.marks, more.marks], 1)
        rejected = np.concatenate([self.rejected, more.rejected])
        return replace(self, record=cast(OpenImage, with_boxes(self.record, more.record)), marks=marks, rejected=rejected)


@dataclass(frozen=True, eq=False)
class Supports:
    """Marked images, and the classes that they show; a class's number is its place."""

    classes: tuple[str, ...]
    images: tuple[MarkedImage, ...]

    def marks(self) -> Iterator[tuple[int, int, int]]:
        """The number of its class, its image and its place there of every mark, class by class."""
        for number, name in enumerate(self.classes):
            for place, image in enumerate(self.images):
                for box, label in enumerate(image.record.names):
                    if label == name and not image.rejected[box]:
                        yield number, place, box

    def joined(self, more: Supports) -> Supports:
        """With another one's boxes: equal pictures are one. Of a region that has a box in both the later word counts."""
        images = {image_key(image.record): image for image in self.without_contradicted(more).images}
        for image in more.images:
            key = image_key(image.record)
            images[key] = images[key].joined(image) if key in images else image
        return Supports(tuple(dict.fromkeys([*self.classes, *more.classes])), tuple(images.values()))

    def without_contradicted(self, more: Supports) -> Supports:
        """Without what another one's boxes contradict (`detection.scoring.last_word`); itself where that is nothing.

        Nothing is taken of a class of which nothing would be left.
        """
        others = {image_key(image.record): image for image in more.images}
        pairs = [(image, others.get(image_key(image.record))) for image in self.images]
        gone = [np.zeros(len(image), bool) if other is None else image.contradicted(other) for image, other in pairs]
        left = {number for number, place, box in self.marks() if not gone[place][box]}
        for number, place, box in self.marks():
            gone[place][box] &= number in left
        if not any(mask.any() for mask in gone):
            return self
        return replace(self, images=tuple(image.chosen(~mask) for image, mask in zip(self.images, gone, strict=True)))

    def without(self, name: str) -> Supports:
        """Without a class; its objects in the other classes' images are unlabelled ones then."""
        images = [image.chosen(np.array([label != name for label in image.record.names], bool)) for image in self.images]
        return Supports(tuple(c for c in self.classes if c != name), tuple(i for i in images if len(i)))

    def renamed(self, name: str, new: str) -> Supports:
        """With another name for a class."""
        images = []
        for image in self.images:
            names = tuple(new if label == name else label for label in image.record.names)
            images.append(replace(image, record=replace(image.record, names=names)))
        return Supports(tuple(new if c == name else c for c in self.classes), tuple(images))

    def regions(self) -> list[MarkedRegions]:
        """The images as what a classifier of regions learns from, in the order in which the classes' marks come."""
        order = dict.fromkeys([*(place for _, place, _ in self.marks()), *range(len(self.images))])
        labels: dict[int, dict[int, int]] = {place: {} for place in order}
        for number, place, box in self.marks():
            labels[place][box] = number
        return [_regions(self.images[place], boxes) for place, boxes in labels.items()]


def _regions(image: MarkedImage, labels: dict[int, int]) -> MarkedRegions:
    marked = list(labels)
    return MarkedRegions(
        proposals=image.seen.proposals,
        features=image.seen.embeddings,
        objectness=image.seen.objectness,
        boxes=image.record.boxes[marked],
        labels=np.array(list(labels.values()), np.int64),
        marks=image.marks[:, marked],
        rejected=image.record.boxes[image.rejected],
        rejected_features=image.marks[0][image.rejected],
        predicted=image.seen.boxes,
    )


def shown(records: Iterable[ImageRecord], detector: ExportedDetector) -> Supports:
    """The plain boxes of some images through the graph; classes in alphabetical order."""
    images = []
    for record in records:
        image = record if isinstance(record, OpenImage) else OpenImage.read(record)
        plain = sorted(b for name in set(image.names) for b in plain_boxes(image, name))
        image = replace(
            image,
            names=tuple(image.names[b] for b in plain),
            boxes=image.boxes[plain],
            difficult=image.difficult[plain],
        )
        if plain:
            images.append(marked(image, detector))
    return Supports(tuple(class_names([image.record for image in images])), tuple(images))


def corrected_region(record: OpenImage, detector: ExportedDetector, *, rejected: bool) -> MarkedImage:
    """An image with the one box that somebody accepts or rejects; all views take the embedding of a proposal
    that is this box."""
    seen = detector.look(record.pixels, name=record.id)
    iou = pairwise_iou(record.boxes, seen.boxes)[0]
    if iou.max(initial=0.0) < REGION_IOU:
        region = marked(record, detector)
    else:
        row = seen.embeddings[iou.argmax()]
        marks = np.tile(row, (1 + len(detector.facts.rule.other_looks), 1, 1))  # (V, 1, f)
        region = MarkedImage(record, seen, marks, np.zeros(1, bool))
    return replace(region, rejected=np.array([rejected]))


def marked(record: OpenImage, detector: ExportedDetector) -> MarkedImage:
    """An image with its boxes through the graph, and again in each look that the rule asks for."""
    seen = detector.look(record.pixels, record.boxes, name=record.id)
    views = [seen.marked]
    for number, scale in detector.facts.rule.other_looks:
        pixels, boxes = view(record.pixels, record.boxes, number)
        views.append(detector.look(pixels, boxes, name=record.id, times=scale).marked)
    return MarkedImage(record, seen, np.stack(views), np.zeros(len(record.names), bool))
