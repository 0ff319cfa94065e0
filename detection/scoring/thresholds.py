"""The calibration of what a method has learnt from a support set."""

import numpy as np
import torch

from repmet.detection.scoring.calibration import Calibration, Prior, calibrate
from repmet.detection.scoring.held_out import held_out_finds
from repmet.detection.scoring.logistic import LogisticRegression, marked_regions
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.scorer import ClassScorer
from repmet.model_definitions.roi_layers import nms


def calibration_of(scorer: ClassScorer, supports: SupportSet) -> Calibration | None:
    """From the supports alone; None where the rule has no prior to start from."""
    rule = scorer.rule
    if rule.score_prior is None:
        return None
    finds = None
    if isinstance(scorer, LogisticRegression):

        def suppress(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
            tensors = (torch.from_numpy(np.ascontiguousarray(values, np.float32)) for values in (boxes, scores))
            return nms(*tensors, rule.nms).numpy()

        finds = held_out_finds(
            marked_regions(supports),
            *scorer.fitted,
            len(supports),
            decay=rule.logistic_decay,
            objectness=rule.objectness,
            suppress=suppress,
            marks=rule.marks,
        )
    marks = np.mean([len(boxes) for boxes in supports.boxes])
    return calibrate(Prior.at(float(marks), rule.score_prior), len(supports), finds)
