"""The calibration of what a method has learnt from a support set."""

import numpy as np
import torch

from repmet.detection.scoring.calibration import Calibration, HeldOutFinds, Prior, calibrate
from repmet.detection.scoring.held_out import held_out_finds
from repmet.detection.scoring.logistic import LogisticRegression, marked_regions
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.scorer import ClassScorer
from repmet.detection.scoring.span_fit import Span
from repmet.detection.scoring.training_rows import training_rows
from repmet.model_definitions.roi_layers import nms


def calibration_of(scorer: ClassScorer, supports: SupportSet) -> Calibration | None:
    """From the supports alone; None where the rule has no prior to start from."""
    prior = scorer.rule.score_prior
    if prior is None:
        return None
    finds = held_out(scorer, supports) if isinstance(scorer, LogisticRegression) else None
    marks = np.mean([len(boxes) for boxes in supports.boxes])
    return calibrate(Prior.at(float(marks), prior), len(supports), finds)


def held_out(
    scorer: LogisticRegression, supports: SupportSet, max_images: int | None = None, *, marks: str | None = None
) -> HeldOutFinds | None:
    """Finds in the marked images by fits that have not seen them (`scoring.held_out`).

    Args:
        max_images: images that teach, at most.
        marks: whether finds beside the marks may be unmarked objects, which are left out; None: as the rule says.
    """
    rule, images = scorer.rule, marked_regions(supports)
    rows = training_rows(images, len(supports), rule.marks)
    fitted = scorer.fitted and np.array_equal(scorer.fitted[0].features, rows.features)
    span = scorer.fitted[1] if fitted else Span(rows.features)

    def suppress(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        tensors = (torch.from_numpy(np.ascontiguousarray(values, np.float32)) for values in (boxes, scores))
        return nms(*tensors, rule.nms).numpy()

    return held_out_finds(
        images,
        rows,
        span,
        len(supports),
        decay=rule.logistic_decay,
        objectness=rule.objectness,
        suppress=suppress,
        marks=rule.marks if marks is None else marks,
        max_images=max_images,
        box_decay=rule.box_refinement,
    )
