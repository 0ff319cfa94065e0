"""Detections in other people's formats, written by `supervision`.

Compared: supervision (MIT, a release every few weeks, reads and writes YOLO with polygons and oriented boxes, COCO, VOC; no
OpenCV of its own), globox (as light as can be and keeps scores in YOLO, but few releases, and neither `data.yaml` nor
polygons beside boxes), datumaro (every format there is, behind 18 dependencies that pin Pillow and OpenCV). It takes a
second to import, so it is imported when it is asked for. COCO's is a dictionary of numbers that needs no library;
`pycocotools` reads it back in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import supervision

    from repmet.detection.results import Detections

_NOT_IN_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")  # of XML 1.0, section 2.2


def coco(results: Iterable[Detections]) -> dict[str, Any]:
    """The detections of several images, looked at for the same classes, as a COCO file: numbers from 1, scores kept.

    Every image is listed, also one in which nothing was found. `annotations` without `id`, `area` and `iscrowd` is COCO's
    list of results.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    classes: tuple[str, ...] = ()
    for number, result in enumerate(results, start=1):
        classes = result.classes
        images.append({"id": number, "file_name": result.image.name, "width": result.size[0], "height": result.size[1]})
        for label, score, box in zip(result.labels.tolist(), result.scores.tolist(), result.boxes.tolist(), strict=True):
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


def to_supervision(detections: Detections) -> supervision.Detections:
    """See `Detections.to_supervision`."""
    import supervision

    return supervision.Detections(
        xyxy=detections.boxes,
        confidence=detections.scores,
        class_id=detections.labels.astype(int),
        tracker_id=detections.tracks,
        data={"class_name": np.array(detections.names, dtype=str)},
    )


def yolo(detections: Detections, *, scores: bool) -> str:
    """See `Detections.to_yolo`."""
    from supervision.dataset.formats.yolo import detections_to_yolo_annotations

    width, height = detections.size
    lines = detections_to_yolo_annotations(to_supervision(detections), (height, width))
    if scores:
        lines = [f"{line} {score:.5f}" for line, score in zip(lines, detections.scores.tolist(), strict=True)]
    return "".join(f"{line}\n" for line in lines)


def voc(detections: Detections) -> str:
    """See `Detections.to_voc`."""
    from supervision.dataset.formats.pascal_voc import detections_to_pascal_voc

    width, height = detections.size
    name = detections.image.path.name if detections.image.path else detections.image.name
    name = _NOT_IN_XML.sub("_", name)
    text = detections_to_pascal_voc(to_supervision(detections), list(detections.classes), name, (height, width, 3))
    return re.sub("(<database>).*?(</database>)", r"\1repmet\2", text)  # supervision names its maker's
