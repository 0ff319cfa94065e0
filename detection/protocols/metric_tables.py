"""Detections and annotations of a list of images in the columns that `detection.metrics.base_metrics` reads."""

from collections.abc import Sequence

import numpy as np

from repmet.data.sources.voc import ImageRecord
from repmet.detection.scoring.detections import Detections

MAX_PER_IMAGE = 100  # detections of an image that count, COCO's limit


def metric_tables(
    detections: Sequence[Detections], queries: Sequence[ImageRecord], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The best detections of each image, (n, 7), and the boxes of the classes with `difficult`, (m, 7).

    Args:
        detections: by image; labels are places in `classes`.
        queries: the images, in the same order.
        classes: names; boxes of others are left out.
    """
    label = {name: k for k, name in enumerate(classes)}
    rows, truth = [], []
    for number, (record, image) in enumerate(zip(queries, detections, strict=True)):
        best = image.best_first()[:MAX_PER_IMAGE]
        rows.append(np.column_stack([np.full(len(best), number), best.labels, best.scores, best.boxes]))
        truth += [
            [number, label[name], *box, hard]
            for name, box, hard in zip(record.names, record.boxes, record.difficult, strict=True)
            if name in label
        ]
    return np.concatenate(rows), np.array(truth, dtype=float)
