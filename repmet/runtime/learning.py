"""From what an exported detector was shown to what it knows: the arithmetic is `detection.scoring`'s own, on arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repmet.detection.episodes.open_image import picture
from repmet.detection.exported.suppression import class_nms
from repmet.detection.pictures.drawing import support_crop
from repmet.detection.scoring.box_refinement import fit_boxes
from repmet.detection.scoring.calibration import Calibration, Prior, calibrate
from repmet.detection.scoring.corrections import corrected_layer
from repmet.detection.scoring.held_out import held_out_finds
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.span_fit import Span, fit
from repmet.detection.scoring.training_rows import MarkedRegions, Rows, training_rows
from repmet.runtime.known_classes import KnownClasses, Taught
from repmet.runtime.supports import Floats, Supports


def learnt(supports: Supports, rule: FewShotRule) -> Taught:
    """The classes of a support set, and their thresholds (`detection.scoring.logistic`, `detection.scoring.thresholds`)."""
    regions, classes = supports.regions(), len(supports.classes)
    rows = training_rows(regions, classes, rule.marks)
    span = Span(rows.features)
    weight, bias = fit(span.coordinates, rows.labels, rows.shares(classes), classes, rule.logistic_decay)
    known = KnownClasses(
        classes=supports.classes,
        rule=rule,
        weight=span.weights(weight).astype(np.float32),
        bias=bias.astype(np.float32),
        box_layer=None if rule.box_refinement is None else fit_boxes(regions, rule.box_refinement),
        calibration=_calibration(supports, regions, rows, span, rule),
        **_examples(supports),
    )
    return Taught(known, supports, rows, span)


def corrected(taught: Taught, more: Supports, number: int) -> Taught:
    """After one region was accepted as one of a class, or rejected: that class alone moves.

    Args:
        more: the region, in a set of one image and one class.
        number: of the class in what is known.
    """
    assert taught.supports is not None and taught.rows is not None and taught.span is not None
    (image,) = more.regions()
    image = replace(image, labels=np.full(len(image.labels), number))
    known = taught.known
    weight, bias, rows, span = corrected_layer(
        known.weight, known.bias, taught.rows, taught.span, image, number, known.rule.logistic_decay
    )
    known = replace(known, weight=weight, bias=bias)
    if len(image.labels):
        shown = _examples(more)
        later = {"labels": np.full(len(shown["labels"]), number), "boxes": shown["boxes"] + int(known.boxes.max()) + 1}
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(known, name), value]) for name, value in (shown | later).items()
        }
        known = replace(known, **joined)
    return Taught(known, taught.supports.joined(more), rows, span)


def _calibration(
    supports: Supports, regions: list[MarkedRegions], rows: Rows, span: Span, rule: FewShotRule
) -> Calibration | None:
    if rule.score_prior is None:
        return None

    def suppress(boxes: Floats, scores: Floats) -> NDArray[np.int64]:
        return class_nms(boxes, scores[:, None], rule.nms)[0]

    classes = len(supports.classes)
    finds = held_out_finds(
        regions,
        rows,
        span,
        classes,
        decay=rule.logistic_decay,
        objectness=rule.objectness,
        suppress=suppress,
        marks=rule.marks,
        box_decay=rule.box_refinement,
    )
    marks = sum(1 for _ in supports.marks()) / classes
    return calibrate(Prior.at(marks, rule.score_prior), classes, finds)


def _examples(supports: Supports) -> dict[str, Any]:
    """Embeddings, class numbers, box numbers and pictures of the supports, a row a view of each."""
    rows = list(supports.marks())
    embeddings = [supports.images[place].marks[:, box] for _, place, box in rows]  # (V, f) each
    crops = []
    for _, place, box in rows:
        record = supports.images[place].record
        crops.append(np.asarray(support_crop(picture(record), record.boxes[box].tolist())))
    views = [len(e) for e in embeddings]
    return {
        "embeddings": np.concatenate(embeddings),
        "labels": np.repeat([number for number, *_ in rows], views),
        "boxes": np.repeat(np.arange(len(rows)), views),
        "crops": np.repeat(np.stack(crops), views, 0),
    }
