"""What faults among the marks cost, and what it is worth to choose the image that is marked next.

Marks are drawn and test lists searched as in `own_data`. A draw's marks are then spoilt: one of every ten gets another
class's name; or all objects of the marked images are marked, and every second mark is taken away again, so that the
images hold objects that a person has passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from repmet.detection.embedding.embedded_image import EmbeddedImage, at_proposals
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.protocols.own_data import OwnData, figures_of
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.next_image import doubt, most_doubtful, next_images
from repmet.detection.scoring.outliers import mark_features, without_outliers
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.thresholds import calibration_of
from repmet.detection.scoring.training_rows import BACKGROUND_IOU, OBJECT_IOU

Marks = Sequence[Sequence[tuple[str, int]]]
ONE_IN = 10  # marks, of which one is wrong
POOL = 100  # images to choose from at most


def faults_of_draw(data: OwnData, method: Method, k: int, seed: int) -> dict[str, float | None]:
    """AP50 of one draw of k marks a class, and of the same marks with faults.

    Returns:
        `AP50`, and `AP50_robust` where outliers among the marks are left out. `AP50_wrong`, `AP50_wrong_robust`: the same
        with one label in ten wrong; None of one class, or of fewer than `ONE_IN` marks a class. `AP50_all`: every object
        of the marked images is marked. `AP50_half_known`: every second of these marks is gone, and what they marked is
        kept out of the background, as only a person who knew them could. `AP50_half_partial`, `AP50_half_complete`: it is
        not known, and the marks are taken for some or for all objects of their images (`FewShotRule.marks`).
    """
    rng = np.random.default_rng(seed)
    drawn = data.marks(k, seed)

    def ap50(marks: Marks, kind: str = method.rule.marks, embedded: Mapping[str, EmbeddedImage] = data.embedded) -> float:
        how = Method(method.name, replace(method.rule, marks=kind))
        return _ap50(data, how, SupportSet(data.classes, marks, data.records, embedded), drawn)

    def robust(marks: Marks) -> Marks:
        return without_outliers(SupportSet(data.classes, marks, data.records, data.embedded)).boxes

    wrong = with_wrong_labels(drawn, rng)
    images = sorted({i for boxes in drawn for i, _ in boxes})
    every = _all_of(data, images).boxes
    half = [_half(boxes, rng) for boxes in every]
    return {
        "AP50": ap50(drawn),
        "AP50_robust": ap50(robust(drawn)),
        "AP50_wrong": None if wrong is None else ap50(wrong),
        "AP50_wrong_robust": None if wrong is None else ap50(robust(wrong)),
        "AP50_all": ap50(every, "complete"),
        "AP50_half_known": ap50(half, "complete", _known(data, half, images)),
        "AP50_half_partial": ap50(half, "partial"),
        "AP50_half_complete": ap50(half, "complete"),
    }


def with_wrong_labels(marks: Marks, rng: np.random.Generator) -> list[list[tuple[str, int]]] | None:
    """Marks of which one in ten of each class goes to another class; None where that moves none."""
    spoilt, moved = [list(boxes) for boxes in marks], 0
    for c, boxes in enumerate(marks):
        others = [other for other in range(len(marks)) if other != c]
        for m in rng.permutation(len(boxes))[: len(boxes) // ONE_IN] if others else ():
            spoilt[c].remove(boxes[m])
            spoilt[rng.choice(others)].append(boxes[m])
            moved += 1
    return spoilt if moved else None


def chosen_of_draw(data: OwnData, method: Method, counts: Sequence[int], seed: int) -> dict[int, dict[str, float]] | None:
    """AP50 after so many more images were marked, all objects of the classes in each: those that `mark_next` names one after
    the other (`chosen_AP50`), or the pool's in a random order (`random_AP50`).

    Args:
        counts: numbers of images.

    Returns:
        None where too few images of the train list hold an object of the classes.
    """
    rng = np.random.default_rng(seed)
    first = data.marks(1, seed)
    start = sorted({i for boxes in first for i, _ in boxes})
    pool = [r.id for r in data.train if r.id not in start]
    pool = [pool[k] for k in sorted(rng.permutation(len(pool))[:POOL])]
    if sum(any(plain_boxes(data.records[i], n) for n in data.classes) for i in pool) < max(counts):
        return None
    figures: dict[int, dict[str, float]] = {count: {} for count in sorted(counts)}
    order = [pool[k] for k in rng.permutation(len(pool))]
    for way in ("chosen", "random"):
        marked = list(start)
        for count in range(max(counts) + 1):
            supports = _all_of(data, marked)
            if count in figures:
                figures[count][f"{way}_AP50"] = _ap50(data, method, supports, first)
            if count < max(counts):
                left = [i for i in pool if i not in marked]
                marked.append(_next(data, method, supports, left) if way == "chosen" else order[count])
    return figures


def _next(data: OwnData, method: Method, supports: SupportSet, pool: Sequence[str]) -> str:
    scorer = method.learn(supports)
    calibration = calibration_of(scorer, supports)
    doubts, looks = [], []
    for name in pool:
        (finds,) = scorer.detect([data.embedded[name]])
        doubts.append(doubt(finds.scores if calibration is None else calibration(finds.scores, finds.labels)))
        looks.append(most_doubtful(data.embedded[name], scorer))
    seen, _ = mark_features(supports)
    return pool[next_images(doubts, np.stack(looks), seen, 1)[0]]


def _all_of(data: OwnData, images: Sequence[str]) -> SupportSet:
    boxes = [[(i, b) for i in images for b in plain_boxes(data.records[i], name)] for name in data.classes]
    return SupportSet(data.classes, boxes, data.records, data.embedded)


def _ap50(data: OwnData, method: Method, supports: SupportSet, drawn: Marks) -> float:
    scorer, queries = method.learn(supports), data.queries(drawn)
    detections = [scorer.detect([data.embedded[r.id]])[0] for r in queries]
    return figures_of(detections, queries, data.classes)["AP50"]


def _half(boxes: Sequence[tuple[str, int]], rng: np.random.Generator) -> list[tuple[str, int]]:
    """Every second mark by chance, at least one."""
    return [boxes[k] for k in sorted(rng.permutation(len(boxes))[: (len(boxes) + 1) // 2])]


def _known(data: OwnData, marks: Marks, images: Sequence[str]) -> dict[str, EmbeddedImage]:
    """The embedded images without the proposals that would be background and overlap an object that has no mark."""
    kept = {i: [b for boxes in marks for j, b in boxes if j == i] for i in images}
    embedded = dict(data.embedded)
    for i in images:
        image, boxes = embedded[i], data.records[i].boxes
        passed = [b for b in range(len(boxes)) if b not in kept[i]]
        proposals = image.proposals.numpy()
        if not passed or not len(proposals):
            continue
        spoils = pairwise_iou(boxes[passed], proposals).max(0) >= BACKGROUND_IOU
        if kept[i]:
            spoils &= pairwise_iou(boxes[kept[i]], proposals).max(0) < OBJECT_IOU
        embedded[i] = at_proposals(image, torch.from_numpy(np.flatnonzero(~spoils)))
    return embedded
