"""What minutes of fitting bring over milliseconds: the settings of `logistic` chosen by the marked images themselves.

Frozen features leave three things to learn from a few marks: the layer that tells classes apart, how much it is held back
(its weight decay, which for a convex fit is what early stopping is for a network), and where a thing ends (the regression of
boxes). Each setting is fitted to all marked images but one fold and searched in that fold, in turn; mirrored views and the
proposals about a mark are the augmentation. A setting replaces the present one only where the class-mean AP of what was left
out rises by more than twice its standard error, so that no detector is worse by its own estimate than the untuned one.
Twice, as the best of five settings that change nothing often rises by once: with that, half of ten draws of thirty raccoons
took a regression of boxes that cost up to seven points on new images.

Shapes: N classes, I images, n finds.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from repmet.detection.metrics.curve import average_precision, precision_recall
from repmet.detection.scoring.calibration import HeldOutFinds
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.thresholds import held_out

BOX_DECAYS = (0.3, 1.0, 3.0)  # of unit features: from 1 on they say little more than the mean offset
DECAY_FACTORS = (0.25, 4.0)  # of the weight decay that is there
STANDARD_ERRORS = 2.0  # that a rise must be above
SECONDS = 180.0


@dataclass(frozen=True)
class Tuned:
    """What was chosen, and what it is expected to bring.

    Attributes:
        rule: the settings.
        before, after: class-mean AP50 of the left-out images; None where nothing could be left out.
        tried: how many settings.
        changes: what is otherwise than before, a line each.
    """

    rule: FewShotRule
    before: float | None
    after: float | None
    tried: int
    changes: tuple[str, ...] = ()


def tuned(supports: SupportSet, rule: FewShotRule, seconds: float = SECONDS) -> Tuned:
    """Chooses settings by leaving marked images out.

    Args:
        supports: with marks in two images at least, of some class in both; else the rule stays as it is.
        seconds: no further setting is tried that would not be done after so long; the longest so far is taken for what it
            needs.
    """
    start_time = time.monotonic()
    finds = _left_out(supports, rule)
    if finds is None:
        return Tuned(rule, None, None, 0)
    end, longest = start_time + seconds, time.monotonic() - start_time
    best, best_finds, count = rule, finds, 0
    for group in ("box_refinement", "logistic_decay"):
        start = best
        for candidate in _candidates(start, group):
            before = time.monotonic()
            if before + longest > end:
                break
            tried, count = _left_out(supports, candidate), count + 1
            longest = max(longest, time.monotonic() - before)
            if tried is not None and _is_better(tried, best_finds, careful=best is start):
                best, best_finds = candidate, tried
    changes = []
    if best.box_refinement != rule.box_refinement:
        changes.append("boxes are moved to where the marks lie")
    if best.logistic_decay != rule.logistic_decay:
        changes.append(f"weight decay {rule.logistic_decay:g} -> {best.logistic_decay:g}")
    return Tuned(best, class_mean_ap(finds), class_mean_ap(best_finds), count, tuple(changes))


def class_mean_ap(finds: HeldOutFinds, images: np.ndarray | None = None) -> float:
    """AP50 (VOC, all points) of left-out images, the mean over the classes with marks in them.

    Args:
        images: (I,) bool, those that count; None: all.
    """
    counts = np.ones(len(finds.objects), bool) if images is None else images
    objects = finds.objects[counts].sum(0)
    rows = counts[finds.images]
    values = []
    for c in np.flatnonzero(objects):
        of_class = rows & (finds.labels == c)
        true, false = finds.scores[of_class & finds.right], finds.scores[of_class & ~finds.right]
        values.append(average_precision(precision_recall(true, [np.sort(false)], int(objects[c]))) if len(true) else 0.0)
    return float(np.mean(values)) if values else 0.0


def _candidates(rule: FewShotRule, group: str) -> Iterator[FewShotRule]:
    if group == "box_refinement":
        yield from (replace(rule, box_refinement=decay) for decay in BOX_DECAYS)
    else:
        yield from (replace(rule, logistic_decay=rule.logistic_decay * factor) for factor in DECAY_FACTORS)


def _left_out(supports: SupportSet, rule: FewShotRule) -> HeldOutFinds | None:
    return held_out(LogisticRegression.learn(supports, rule), supports)


def _is_better(finds: HeldOutFinds, than: HeldOutFinds, *, careful: bool) -> bool:
    """Whether AP rises, and if careful by more than `STANDARD_ERRORS` of the rise, by the jackknife over the images."""
    rise = class_mean_ap(finds) - class_mean_ap(than)
    if rise <= 0 or not careful:
        return rise > 0
    marked = np.flatnonzero(finds.objects.sum(1))
    without = []
    for image in marked:
        kept = np.arange(len(finds.objects)) != image
        without.append(class_mean_ap(finds, kept) - class_mean_ap(than, kept))
    spread = np.square(np.array(without) - np.mean(without)).sum() * (len(marked) - 1) / len(marked)
    return bool(rise > STANDARD_ERRORS * np.sqrt(spread))
