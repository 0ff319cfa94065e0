"""How supports become classes and boxes become detections: the settings of an evaluation, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any

from repmet.detection.episodes.turned import VIEWS
from repmet.detection.scoring.training_rows import MARKS
from repmet.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config


@dataclass(frozen=True, kw_only=True)
class FewShotRule:
    """How supports become representatives and queries become detections; the defaults are RepMet's.

    Attributes:
        sigma, scale: of the posterior and the softmax, those that the head was trained with; above 0.
        support_iou: a support box is embedded by the proposals with at least this IoU to it; without one, by the box
            itself. In (0, 1]. None: always by the box itself, which is what was marked; a proposal is a little beside it.
        support_rois: at most this many of them a box, the best first; at least 1.
        support_views: 1, or the number of views of a support image in which its boxes are embedded: 2 with the mirror
            image, 8 with all quarter turns too, for things seen from above (`detection.embedding.views`).
        support_scales: at what sizes a support image is looked at, in times the one that images are brought to, each in
            every view; numbers above 0, 1 among them. Objects may be nearer or farther in a query than in their support.
        modes: representatives of a class at most, by k-means of its support embeddings; 1 is their mean, which suits a head
            that was trained with one mode. None, as in the released code: max(5, 2 x shot).
        nms: IoU above which the weaker of two boxes of a class is dropped; in [0, 1].
        dummy_columns: columns in the softmax for classes outside the episode, each at squared distance 2 (the
            released code keeps its base classes so; 0: only the episode's classes and the background compete).
        base_columns: the base classes compete as themselves, by the representatives that the head was trained with: what is
            surely a car is no motorbike. Where RepMet's own embedding is used (`detection.scoring.methods`); off in RepMet.
        objectness: multiply the scores by this power of the proposal's objectness; at least 0, true is 1. RepMet's
            background is only what no support claims, so a support that resembles the ground claims all of it, at scores
            that outrank every object of other episodes; what the proposal network learnt about objects of any class
            forbids that. Off in RepMet.
        score_prior: rows (marks a class, slope, offset, best F1) of what other sets gave, from which scores become
            probabilities and classes get thresholds (`scoring.calibration`); slopes above 0, F1 in (0, 1]. None: scores as
            they are.
        negative_iou, negative_weight: of `np_repmet` (`scoring.negatives`): from which overlap and below which a proposal is
            a negative of its support box (0 <= from < below <= 1), and how much nearness to it counts (at least 0).
        calibration: of `calibrated`: the share of the cosine, in [0, 1].
        cosine_scale, classifier_decay: of `tfa_cosine` and `baseline_ft`: the factor before the softmax (above 0), weight
            decay (at least 0).
        logistic_decay: weight decay of `logistic`, at least 0.
        box_refinement: of `logistic`: weight decay, above 0, of the regression that moves boxes to where the marks lie
            (`scoring.box_refinement`); None: boxes stay where the detector puts them.
        marks: of `logistic`: `complete` where every object of the classes in a marked image is marked, else `partial`.

    Raises:
        ValueError: a value is outside its range or of another type; the message names it.
    """

    sigma: float = 0.5
    scale: float = 15.0
    support_iou: float | None = 0.7
    support_rois: int = 1
    support_views: int = 1
    support_scales: tuple[float, ...] = (1.0,)
    modes: int | None = None
    nms: float = 0.3
    dummy_columns: int = 0
    base_columns: bool = False
    objectness: float = 0.0
    score_prior: tuple[tuple[float, ...], ...] | None = None
    negative_iou: tuple[float, float] = (0.2, 0.3)
    negative_weight: float = 0.2
    calibration: float = 0.5
    cosine_scale: float = 20.0
    classifier_decay: float = 1e-3
    logistic_decay: float = 1.2e-3
    box_refinement: float | None = None
    marks: str = "partial"

    def __post_init__(self) -> None:
        for name in ("sigma", "scale", "cosine_scale"):
            self._check(name, _number(getattr(self, name)) and getattr(self, name) > 0, "a number above 0")
        for name in ("negative_weight", "classifier_decay", "logistic_decay"):
            self._check(name, _number(getattr(self, name)) and getattr(self, name) >= 0, "a number of at least 0")
        for name in ("nms", "calibration"):
            self._check(name, _number(getattr(self, name)) and 0 <= getattr(self, name) <= 1, "a number in [0, 1]")
        prior = self.score_prior
        if prior is not None:
            rows = isinstance(prior, tuple | list) and bool(prior) and all(map(_prior_row, prior))
            self._check("score_prior", rows, "rows of marks from 1, slope above 0, offset, F1 in (0, 1]; or null")
            object.__setattr__(self, "score_prior", tuple(map(tuple, prior)))
        decay = self.box_refinement
        self._check("box_refinement", decay is None or (_number(decay) and decay > 0), "a number above 0, or null")
        self._check("marks", self.marks in MARKS, " or ".join(MARKS))
        self._check("base_columns", isinstance(self.base_columns, bool), "true or false")
        power = self.objectness
        self._check(
            "objectness", isinstance(power, bool) or (_number(power) and power >= 0), "true, false, or a power from 0"
        )
        object.__setattr__(self, "objectness", float(power))
        iou, modes = self.support_iou, self.modes
        self._check("support_iou", iou is None or (_number(iou) and 0 < iou <= 1), "a number in (0, 1], or null")
        self._check("support_rois", _whole(self.support_rois) and self.support_rois >= 1, "a whole number from 1")
        self._check("support_views", _whole(self.support_views) and self.support_views in VIEWS, "one of 1, 2, 8")
        scales = self.support_scales
        several = isinstance(scales, tuple | list) and all(_number(s) and s > 0 for s in scales) and 1 in scales
        several = several and len(set(scales)) == len(scales)
        self._check("support_scales", several, "different numbers above 0, 1 among them")
        object.__setattr__(self, "support_scales", tuple(map(float, scales)))
        self._check("modes", modes is None or (_whole(modes) and modes >= 1), "a whole number from 1, or null")
        self._check("dummy_columns", _whole(self.dummy_columns) and self.dummy_columns >= 0, "a whole number from 0")
        span = self.negative_iou
        pair = isinstance(span, tuple | list) and len(span) == 2 and all(map(_number, span))
        self._check("negative_iou", pair and 0 <= span[0] < span[1] <= 1, "two numbers, 0 <= from < below <= 1")
        object.__setattr__(self, "negative_iou", tuple(span))  # YAML and saved files bring a list

    def _check(self, name: str, right: bool, wanted: str) -> None:
        if not right:
            raise UserError(f"episodes.{name} is {wanted}, not {getattr(self, name)!r}")

    def reported(self, scores: Any, objectness: Any) -> Any:
        """Scores (P, N) with the objectness (P,) of the proposals, as they are reported: of tensors or arrays."""
        return scores * objectness[:, None] ** self.objectness if self.objectness else scores

    @property
    def other_looks(self) -> tuple[tuple[int, float], ...]:
        """How a support image is looked at beside as it is: the number of a view, and times its size."""
        looks = ((view, scale) for scale in self.support_scales for view in range(self.support_views))
        return tuple(look for look in looks if look != (0, 1.0))

    def modes_for(self, shot: int) -> int:
        """Representatives of a class at most, at a number of shots."""
        return max(5, 2 * shot) if self.modes is None else self.modes


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _prior_row(row: object) -> bool:
    right = isinstance(row, tuple | list) and len(row) == 4 and all(map(_number, row))
    return right and row[0] >= 1 and row[1] > 0 and 0 < row[3] <= 1


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def few_shot_rule(cfg: Config, marks: str | None = None) -> FewShotRule:
    """The experiment's `episodes` section with the head's own sigma and scale.

    Args:
        marks: in the place of the section's own.

    Raises:
        ValueError: a value that cannot be.
    """
    head, section = cfg.model.roi_head.bbox_head, cfg.get("episodes") or {}
    trained = {key: head[key] for key in ("sigma", "scale") if key in head}
    asked = {f.name: section[f.name] for f in fields(FewShotRule) if f.name in section}
    return FewShotRule(**trained, **asked | ({} if marks is None else {"marks": marks}))
