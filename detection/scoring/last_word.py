"""What a later mark or rejection of the same region makes of the earlier ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from repmet.detection.episodes.open_image import image_key
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.training_rows import REGION_IOU

Region = tuple[str, str, np.ndarray]  # key of its image, class, box


def without_contradicted(supports: SupportSet, more: SupportSet) -> SupportSet:
    """The supports without what the regions of others contradict: the last word counts.

    A mark replaces whatever was said of its region. A rejection takes away the marks of its own class there, and says
    nothing of those of others. Nothing is taken of a class of which nothing would be left.
    """
    marked, refused = _regions(more, more.boxes), _regions(more, more.rejected)

    def kept(pairs: Sequence[tuple[str, int]], name: str, *, rejected: bool) -> list[tuple[str, int]]:
        regions = marked if rejected else [*marked, *(region for region in refused if region[1] == name)]
        return [(i, b) for i, b in pairs if not any(_is_region(supports, i, b, region) for region in regions)]

    boxes = [kept(pairs, name, rejected=False) for name, pairs in zip(supports.classes, supports.boxes, strict=True)]
    boxes = [left or list(pairs) for left, pairs in zip(boxes, supports.boxes, strict=True)]
    refusals = supports.rejected or [()] * len(supports)
    rejected = [kept(pairs, name, rejected=True) for name, pairs in zip(supports.classes, refusals, strict=True)]
    if boxes == list(map(list, supports.boxes)) and rejected == list(map(list, refusals)):
        return supports
    return replace(supports, boxes=boxes, rejected=rejected)


def _regions(supports: SupportSet, by_class: Sequence[Sequence[tuple[str, int]]]) -> list[Region]:
    named = zip(supports.classes, by_class, strict=False)  # without rejections there is no list of them
    return [(image_key(supports.records[i]), name, supports.records[i].boxes[b]) for name, pairs in named for i, b in pairs]


def _is_region(supports: SupportSet, image: str, box: int, region: Region) -> bool:
    record, (key, _, other) = supports.records[image], region
    return image_key(record) == key and pairwise_iou(record.boxes[box][None], other[None])[0, 0] >= REGION_IOU
