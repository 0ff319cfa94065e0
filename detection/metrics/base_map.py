"""mAP of an ordinarily trained detector: Pascal VOC's two figures and COCO's."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from .curve import average_precision, average_precision_11, false_at_recall
from .layout import (
    DETECTION_COLUMNS,
    GROUND_TRUTH_COLUMNS,
    GroundTruth,
    ScoredBoxes,
    as_table,
    read_detections,
    read_ground_truth,
)
from .matching import match
from .scores import Scores, gather, voc_curve

COCO_DETECTIONS = 100  # an image and class; COCO's own limit


def base_metrics(
    detections: np.ndarray, ground_truth: np.ndarray, num_classes: int, *, plus_one: bool = True
) -> dict[str, Any]:
    """AP of a detector over all its classes; fractions in [0, 1].

    Args:
        detections: (n, 7) image, class, score, x1, y1, x2, y2; scores of 0 are dropped.
        ground_truth: (m, 6) image, class, x1, y1, x2, y2, or (m, 7) with `difficult`: such boxes are ignored (to COCO
            they are crowds, the only boxes that its code ignores).
        num_classes: N; classes are 0 to N - 1.
        plus_one: widths are x2 - x1 + 1 in VOC's figures, as in its development kit. COCO's are x2 - x1.

    Returns:
        `voc07` (11 points) and `voc` (all points) at IoU 0.5 and `coco` (IoU 0.50 to 0.95), each the mean over the
        classes that have boxes, and `per_class`: {class: {"voc07", "voc", "coco", "n_ground_truth",
        "false_at_half"}}, the last the wrong detections that come with half of the class's boxes.

    Raises:
        ValueError: the arrays are not laid out as described, a class is outside 0..N - 1, or no box is to be found.
    """
    scored = read_detections(as_table(detections, DETECTION_COLUMNS[1:], "detections"))
    truth = read_ground_truth(as_table(ground_truth, GROUND_TRUTH_COLUMNS[1:], "ground truth", "difficult"))
    for labels, what in ((scored.label, "detections"), (truth.label, "ground truth")):
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"{what}: classes {labels.min()} to {labels.max()}, but there are {num_classes}, from 0")
    scores = gather(0, scored, truth, match(scored, truth, iou=0.5, plus_one=plus_one))
    if not scores.n_ground_truth:
        raise ValueError(f"no box is to be found in {len(truth.image)} of ground truth: there is nothing to measure")
    coco_ap = _coco_ap(scored, truth, np.union1d(truth.image, scored.image))
    nothing = Scores(*[np.empty(0, dtype=np.float32)] * 3)
    per_class = {}
    for label, n in sorted(scores.n_ground_truth.items()):
        outcome = scores.classes.get(label, nothing)
        curve = voc_curve({label: outcome}, n)
        per_class[label] = {
            "voc07": average_precision_11(curve),
            "voc": average_precision(curve),
            "coco": coco_ap[label],
            "n_ground_truth": n,
            "false_at_half": false_at_recall(curve, n, len(outcome.background) + len(outcome.other), 0.5),
        }
    means = {name: float(np.mean([row[name] for row in per_class.values()])) for name in ("voc07", "voc", "coco")}
    return {**means, "per_class": per_class}


def _coco_ap(scored: ScoredBoxes, truth: GroundTruth, images: np.ndarray) -> dict[int, float]:
    """AP over IoU 0.50:0.05:0.95 of every class with boxes, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels = np.unique(truth.label[~truth.difficult]).tolist()
    sides = truth.boxes[:, 2:].astype(float) - truth.boxes[:, :2]
    annotations = [
        {
            "id": number,  # from 1: pycocotools takes 0 for "no match"
            "image_id": int(image),
            "category_id": int(label),
            "bbox": [float(box[0]), float(box[1]), float(width), float(height)],
            "area": float(width * height),
            "iscrowd": int(difficult),
        }
        for number, (image, label, box, (width, height), difficult) in enumerate(
            zip(truth.image, truth.label, truth.boxes, sides, truth.difficult, strict=True), start=1
        )
    ]
    if not len(scored.image):
        return dict.fromkeys(labels, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = {
            "images": [{"id": int(image)} for image in images],
            "annotations": annotations,
            "categories": [{"id": label} for label in labels],
        }
        reference.createIndex()
        boxes = np.column_stack((scored.boxes[:, :2], scored.boxes[:, 2:] - scored.boxes[:, :2])).astype(float)
        rows = np.column_stack((scored.image, boxes, scored.score, scored.label))  # (n, 7)
        evaluation = COCOeval(reference, reference.loadRes(rows), "bbox")
        evaluation.params.maxDets = [1, 10, COCO_DETECTIONS]
        evaluation.params.catIds = labels
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU thresholds, recall points, classes)
    return {label: float(precision[:, :, k].mean()) for k, label in enumerate(labels)}
