"""Detections in other people's formats, written by `supervision`.

Compared: supervision (MIT, a release every few weeks, reads and writes YOLO with polygons and oriented boxes, COCO, VOC; no
OpenCV of its own), globox (as light as can be and keeps scores in YOLO, but few releases, and neither `data.yaml` nor
polygons beside boxes), datumaro (every format there is, behind 18 dependencies that pin Pillow and OpenCV). It takes a
second to import, so it is imported when it is asked for. COCO's is a dictionary of numbers that needs no library;
`pycocotools` reads it back in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import supervision

    from repmet.detection.results import Detections


def coco(found: Iterable[Detections]) -> dict[str, Any]:
    """The detections of several images, looked at for the same classes, as a COCO file: numbers from 1, scores kept.

    Every image is listed, also one in which nothing was found. `annotations` without `id`, `area` and `iscrowd` is COCO's
    list of results.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    classes: tuple[str, ...] = ()
    for number, one in enumerate(found, start=1):
        classes = one.classes
        images.append({"id": number, "file_name": one.image.name, "width": one.size[0], "height": one.size[1]})
        for label, score, box in zip(one.labels.tolist(), one.scores.tolist(), one.boxes.tolist(), strict=True):
            x1, y1, x2, y2 = box
            sides = [round(side, 2) for side in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": sides,
                    "area": round(sides[2] * sides[3], 2),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def to_supervision(found: Detections) -> supervision.Detections:
    """See `Detections.to_supervision`."""
    import supervision

    return supervision.Detections(
        xyxy=found.boxes,
        confidence=found.scores,
        class_id=found.labels.astype(int),
        tracker_id=found.tracks,
        data={"class_name": np.array(found.names, dtype=str)},
    )


def yolo(found: Detections, *, scores: bool) -> str:
    """See `Detections.to_yolo`."""
    from supervision.dataset.formats.yolo import detections_to_yolo_annotations

    width, height = found.size
    lines = detections_to_yolo_annotations(to_supervision(found), (height, width))
    if scores:
        lines = [f"{line} {score:.5f}" for line, score in zip(lines, found.scores.tolist(), strict=True)]
    return "".join(f"{line}\n" for line in lines)


def voc(found: Detections) -> str:
    """See `Detections.to_voc`."""
    from supervision.dataset.formats.pascal_voc import detections_to_pascal_voc

    width, height = found.size
    name = found.image.path.name if found.image.path else found.image.name
    return detections_to_pascal_voc(to_supervision(found), list(found.classes), name, (height, width, 3))
