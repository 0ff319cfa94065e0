"""Which detection hits which box: by the RepMet benchmark's rules and by VOC's, in one vectorised pass.

RepMet's (Karlinsky et al., CVPR 2019, released code), for each image and each class c of the episode: a box of class c is
found at the score of the best class-c detection with IoU >= t; further hits on it are neither right nor wrong. A box of
another class gives one wrong detection, the best class-c one with IoU >= t that hits no box of class c. Every detection
with IoU < t to all boxes of the image is a background one. One detection can find two boxes.

VOC's: a detection goes to the box of its class with which it overlaps most; IoU >= t makes the best-scored of a box
right and its others duplicates, which are wrong.

Difficult boxes are never to be found and a detection of their class that goes to one is ignored (VOC); under RepMet's
rules, which know none, a detection of any class that hits one is not background, and none is a wrong one for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from .layout import GroundTruth, ScoredBoxes

PAIRS_AT_ONCE = 1 << 18  # bounds memory, and keeps the temporaries in cache


class Outcome(IntEnum):
    """What a detection turned out to be under VOC's rules; the wrong ones told apart as RepMet does."""

    BACKGROUND = 0  # hits no box at all
    WRONG_CLASS = 1  # hits boxes of other classes only
    DUPLICATE = 2  # hits a box of its class that a better one has
    RIGHT = 3
    IGNORED = 4  # goes to a difficult box of its class


class Matches(NamedTuple):
    """`outcome` (n,) uint8 of `Outcome`, `hit_score` (m,) float32 score at which RepMet's rules find each box, 0 if they
    do not, and `wrong` (w,) float32 scores of their wrong-class detections."""

    outcome: np.ndarray
    hit_score: np.ndarray
    wrong: np.ndarray


def match(detections: ScoredBoxes, ground_truth: GroundTruth, *, iou: float, plus_one: bool) -> Matches:
    """Matches n detections with m boxes of the same images.

    Equal IoU with two boxes of a class goes to the one that comes first by (difficult, x1, y1, x2, y2), so that the
    order of rows does not matter; which of two equal scores takes a box makes no difference to any curve.

    Args:
        iou: the threshold t, in (0, 1].
        plus_one: widths are x2 - x1 + 1, as for VOC's whole-pixel boxes, else x2 - x1.
    """
    score, label = detections.score, detections.label
    order = np.lexsort((*ground_truth.boxes.T[::-1], ground_truth.difficult, ground_truth.label, ground_truth.image))
    truth = GroundTruth(*(column[order] for column in ground_truth))
    blocks = list(_overlapping(detections, truth, iou, plus_one))
    d, g, overlap = (np.concatenate(parts) for parts in zip(*blocks, strict=True)) if blocks else ([], [], [])
    d, g = np.asarray(d, dtype=np.int64), np.asarray(g, dtype=np.int64)  # (h,) the pairs with IoU >= t
    same_class, counted = label[d] == truth.label[g], ~truth.difficult[g]

    best = np.zeros(len(truth.image), dtype=np.float32)
    np.maximum.at(best, g[same_class & counted], score[d[same_class & counted]])
    hit_score = np.empty_like(best)
    hit_score[order] = best

    hits_own = np.zeros(len(score), dtype=bool)
    hits_own[d[same_class]] = True
    stray = ~same_class & counted & ~hits_own[d]
    wrong = _best_of_each(np.stack((g[stray], label[d[stray]])), score[d[stray]])

    outcome = np.full(len(score), Outcome.BACKGROUND, dtype=np.uint8)
    outcome[d] = Outcome.WRONG_CLASS
    d, g, overlap = d[same_class], g[same_class], np.asarray(overlap)[same_class]
    nearest = _first_of_each(d, np.lexsort((g, -overlap, d)))  # each detection's box
    d, g = d[nearest], g[nearest]
    outcome[d] = Outcome.DUPLICATE
    outcome[d[_first_of_each(g, np.lexsort((-score[d], g)))]] = Outcome.RIGHT
    outcome[d[truth.difficult[g]]] = Outcome.IGNORED
    return Matches(outcome, hit_score, wrong)


def _overlapping(
    detections: ScoredBoxes, truth: GroundTruth, iou: float, plus_one: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Indices (detection, box) and IoU of the pairs of one image that reach the threshold; `truth` sorted by image."""
    images, first, count = np.unique(truth.image, return_index=True, return_counts=True)
    if not len(images) or not len(detections.image):
        return
    slot = np.minimum(np.searchsorted(images, detections.image), len(images) - 1)
    pairs = np.where(images[slot] == detections.image, count[slot], 0)  # (n,) boxes that each detection meets
    ends = np.cumsum(pairs)
    offset = 1.0 if plus_one else 0.0
    boxes = [detections.boxes[:, k].astype(np.float64) for k in range(4)]
    targets = [truth.boxes[:, k].astype(np.float64) for k in range(4)]
    area = _length(boxes[0], boxes[2], offset) * _length(boxes[1], boxes[3], offset)
    target_area = _length(targets[0], targets[2], offset) * _length(targets[1], targets[3], offset)
    low = 0
    while low < len(pairs):
        done = ends[low] - pairs[low]
        high = max(low + 1, int(np.searchsorted(ends, done + PAIRS_AT_ONCE, side="right")))
        here = pairs[low:high]
        d = np.repeat(np.arange(low, high), here)
        g = np.arange(len(d)) + np.repeat(first[slot[low:high]] - (ends[low:high] - here - done), here)
        width = _length(np.maximum(boxes[0][d], targets[0][g]), np.minimum(boxes[2][d], targets[2][g]), offset)
        height = _length(np.maximum(boxes[1][d], targets[1][g]), np.minimum(boxes[3][d], targets[3][g]), offset)
        shared = width * height
        union = area[d] + target_area[g] - shared
        overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        hit = overlap >= iou
        yield d[hit], g[hit], overlap[hit]
        low = high


def _length(start: np.ndarray, end: np.ndarray, offset: float) -> np.ndarray:
    return np.maximum(end - start + offset, 0.0)


def _first_of_each(key: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Of `order`, which sorts `key`, the first index of every run of equal keys."""
    ordered = key[order]
    return order[np.diff(ordered, prepend=-1) != 0]


def _best_of_each(keys: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The highest score of every distinct column of `keys` (k, n)."""
    order = np.lexsort((-score, *keys))
    changed = np.any(np.diff(keys[:, order], axis=1) != 0, axis=0)
    return score[order[np.concatenate(([True], changed))]] if len(score) else score
