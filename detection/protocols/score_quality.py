"""Do scores mean what they say? Calibration, automatic thresholds, and whether objects of no class are told from known ones.

Marks are drawn and test lists searched as in `own_data`. Of a set with several classes every second one is not shown: its
objects are unknown.

Shapes: N classes, n finds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from repmet.data.sources.voc import ImageRecord
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.protocols.own_data import OwnData
from repmet.detection.scoring.calibration import LOWEST, Calibration
from repmet.detection.scoring.estimate import estimates
from repmet.detection.scoring.held_out import HIT_IOU, hits
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.scorer import ClassScorer
from repmet.detection.scoring.thresholds import calibration_of, held_out

BINS = 15
SHOWN = 0.05  # finds below are nobody's business: there are hundreds in each image


def expected_calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """`sum_b (n_b / n) |mean of p - share of right|` over equal bins (Naeini et al., AAAI 2015), from `SHOWN` on."""
    shown = probabilities >= SHOWN
    p, right = probabilities[shown], right[shown]
    place = np.minimum((p * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    gaps = np.bincount(place, p, bins) - np.bincount(place, right, bins)
    return float(np.abs(gaps).sum() / max(counts.sum(), 1))


def f1_at(scores: np.ndarray, right: np.ndarray, objects: int, threshold: float) -> float:
    """F1 of the finds from a threshold on."""
    taken = scores >= threshold
    return float(2 * right[taken].sum() / max(taken.sum() + objects, 1))


def best_f1(scores: np.ndarray, right: np.ndarray, objects: int) -> float:
    """The highest F1 of any threshold, chosen with the labels."""
    order = np.argsort(-scores, kind="stable")
    counts = np.arange(1, len(scores) + 1)
    return float((2 * np.cumsum(right[order]) / (counts + objects)).max(initial=0.0))


def platt(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset of `sigmoid(a log s + b)` that fit finds best: a row of `score_prior`."""
    logs = np.log(np.maximum(scores.astype(np.float64), LOWEST))

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        z = values[0] * logs + values[1]
        error = expit(z) - right
        return (np.logaddexp(0, z) - right * z).sum(), np.array([(error * logs).sum(), error.sum()])

    slope, offset = minimize(loss, [1.0, 2.0], jac=True, method="L-BFGS-B").x
    return float(slope), float(offset)


def quality_of_draw(data: OwnData, method: Method, k: int, seed: int) -> dict[str, float | None]:
    """The figures of one draw of k marks a class.

    Returns:
        `ece`, `ece_product`, `ece_softmax`: of the calibrated scores, of softmax times objectness, of the softmax;
        `f1`, `f1_best`, `f1_common`: class means at the automatic thresholds, at the best threshold of each class and at the
        best one for all, both chosen with the test labels; `false_finds`: at the automatic thresholds, an image;
        `false_finds_empty`: in images that hold no object of the classes; `auroc`: of objects of known classes against those
        of others; `precision_covered`, `recall_covered`: 1 where the interval of `scoring.estimate` holds what the test list
        gives, else 0; `slope`, `offset`: of Platt's scaling with the test labels. None where nothing is to be measured.
    """
    rule = method.rule
    shown = data.classes[::2] if len(data.classes) > 1 else data.classes
    marks = [boxes for name, boxes in zip(data.classes, data.marks(k, seed), strict=True) if name in shown]
    supports = SupportSet(shown, marks, data.records, data.embedded)
    scorer = method.learn(supports)
    calibration = calibration_of(scorer, supports)
    queries = data.queries(marks)
    scores, labels, right, empty, objects = searched(scorer, data, queries, shown)
    p = scores if calibration is None else calibration(scores, labels)
    thresholds = np.full(len(shown), 0.5) if calibration is None else np.array(calibration.thresholds)
    parts = [(p[labels == c], right[labels == c], objects[c]) for c in range(len(shown)) if objects[c]]
    present = [c for c in range(len(shown)) if objects[c]]
    auto = [f1_at(*part, thresholds[c]) for c, part in zip(present, parts, strict=True)]
    common = max(np.mean([f1_at(*part, t) for part in parts]) for t in np.linspace(0.02, 0.98, 49))
    taken = p >= thresholds[labels]
    soft = searched(replace(scorer, rule=replace(rule, objectness=0)), data, queries, shown)
    slope, offset = platt(scores, right)
    return {
        "ece": expected_calibration_error(p, right),
        "ece_product": expected_calibration_error(scores, right),
        "ece_softmax": expected_calibration_error(soft[0], soft[2]),
        "f1": float(np.mean(auto)),
        "f1_best": float(np.mean([best_f1(*part) for part in parts])),
        "f1_common": float(common),
        "false_finds": float((taken & ~right).sum() / len(queries)),
        "false_finds_empty": float((taken & empty).sum() / count) if (count := _empty(queries, shown)) else None,
        "auroc": known_from_unknown(scorer, data, queries, shown),
        **_covered(scorer, supports, calibration, (taken & right).sum(), taken.sum(), objects.sum()),
        "slope": slope,
        "offset": offset,
    }


def _covered(
    scorer: ClassScorer, supports: SupportSet, calibration: Calibration | None, right: int, taken: int, objects: int
) -> dict[str, float | None]:
    """Whether the intervals expected from the marks hold the precision and recall of the test list."""
    finds = held_out(scorer, supports) if isinstance(scorer, LogisticRegression) and calibration else None
    if finds is None or not taken or not objects:
        return {"precision_covered": None, "recall_covered": None}
    expected = estimates(finds, calibration)[-1]
    return {
        "precision_covered": float(expected.precision.low <= right / taken <= expected.precision.high),
        "recall_covered": float(expected.recall.low <= right / objects <= expected.recall.high),
    }


def searched(
    scorer: ClassScorer, data: OwnData, queries: Sequence[ImageRecord], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All finds (n,): score, class, whether it is right, whether its image holds no object of the classes; and the number
    of objects by class (N,). Difficult objects are not to be found."""
    rows, objects = [], np.zeros(len(classes), int)
    for record in queries:
        (found,) = scorer.detect([data.embedded[record.id]])
        found = found.best_first()
        right = np.zeros(len(found), bool)
        for c, boxes in enumerate(_plain(record, classes)):
            of_class = found.labels == c
            right[of_class] = hits(found.boxes[of_class], boxes)
            objects[c] += len(boxes)
        empty = not set(record.names) & set(classes)
        rows.append((found.scores, found.labels, right, np.full(len(found), empty)))
    return *map(np.concatenate, zip(*rows, strict=True)), objects


def known_from_unknown(
    scorer: ClassScorer, data: OwnData, queries: Sequence[ImageRecord], classes: Sequence[str]
) -> float | None:
    """AUROC of the highest class score of an object's best proposal: known objects against those of other classes."""
    best, known = [], []
    for record in queries:
        image = data.embedded[record.id]
        if not len(record.boxes) or not len(image.boxes):
            continue
        scores = scorer.scores(image).amax(1).numpy()  # (P,)
        iou = pairwise_iou(record.boxes, image.boxes.numpy())
        nearest = iou.argmax(1)
        reached = (iou.max(1) >= HIT_IOU) & ~np.asarray(record.difficult, bool)
        best += scores[nearest[reached]].tolist()
        known += [record.names[b] in classes for b in np.flatnonzero(reached)]
    return float(roc_auc_score(known, best)) if 0 < sum(known) < len(known) else None


def _plain(record: ImageRecord, classes: Sequence[str]) -> list[np.ndarray]:
    """By class the boxes that are not difficult, (G_c, 4)."""
    plain = ~np.asarray(record.difficult, bool)
    names = np.array(record.names, object)
    return [record.boxes[plain & (names == name)] for name in classes]


def _empty(queries: Sequence[ImageRecord], classes: Sequence[str]) -> int:
    return sum(not set(r.names) & set(classes) for r in queries)


def prior_rows(rows: Sequence[Mapping]) -> list[list[float]]:
    """`score_prior` from what several sets gave: marks, mean slope, mean offset, mean best F1."""
    table = []
    for k in sorted({row["marks"] for row in rows}):
        chosen = [row for row in rows if row["marks"] == k]
        means = [float(np.mean([row[name]["mean"] for row in chosen])) for name in ("slope", "offset", "f1_best")]
        table.append([k, *(round(value, 2) for value in means)])
    return table
