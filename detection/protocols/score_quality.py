"""Do scores mean what they say? Calibration, automatic thresholds, and whether objects of no class are told from known ones.

Marks are drawn and test lists searched as in `own_data`, first with all classes shown. Then, of a set with several classes,
every second one is not shown: its objects are unknown, and images that hold no others are empty.

Shapes: N classes, P proposals of an image, n finds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import roc_auc_score

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.protocols.own_data import OwnData
from repmet.detection.protocols.score_figures import best_f1, expected_calibration_error, f1_at, platt
from repmet.detection.scoring.calibration import Calibration
from repmet.detection.scoring.estimate import estimates
from repmet.detection.scoring.held_out import HIT_IOU, hits
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.scorer import ClassScorer
from repmet.detection.scoring.thresholds import calibration_of, held_out

PLAIN_HALF = 0.5  # the threshold of a score that has none of its own
COMMON = np.linspace(0.02, 0.98, 49)  # among which the best threshold for all classes is looked for


@dataclass(frozen=True)
class Finds:
    """All finds in some images.

    Attributes:
        scores, labels: (n,), as the scorer gives them, and class numbers.
        right: (n,) bool.
        empty: (n,) bool, whether the find's image holds no object of the classes.
        objects: (N,), how many there are to be found; difficult ones are not.
        images, empty_images: how many.
    """

    scores: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    empty: np.ndarray
    objects: np.ndarray
    images: int
    empty_images: int

    def class_mean_f1(self, scores: np.ndarray, thresholds: Sequence[float] | np.ndarray | None) -> float:
        """The mean over the classes that have objects; at the best threshold of each where none are given."""
        values = []
        for c in np.flatnonzero(self.objects):
            of_class = self.labels == c
            part = scores[of_class], self.right[of_class], int(self.objects[c])
            values.append(best_f1(*part) if thresholds is None else f1_at(*part, thresholds[c]))
        return float(np.mean(values)) if values else 0.0

    def false_finds(self, taken: np.ndarray) -> dict[str, float | None]:
        """Wrong ones among the taken (n,) an image, and an empty image."""
        empty = (taken & self.empty).sum() / self.empty_images if self.empty_images else None
        return {
            "false_finds": float((taken & ~self.right).sum() / self.images),
            "false_finds_empty": None if empty is None else float(empty),
        }


def quality_of_draw(data: OwnData, method: Method, k: int, seed: int) -> dict[str, float | None]:
    """The figures of one draw of k marks a class.

    Returns:
        With all classes shown: `ece`, `ece_product`, `ece_softmax`: of the calibrated scores, of softmax times objectness,
        of the softmax; `f1`, `f1_best`, `f1_common`: class means at the automatic thresholds, at the best threshold of each
        class and at the best one for all, both chosen with the test labels; `f1_product`, `f1_softmax`: of raw scores from
        0.5 on; `false_finds`: at the automatic thresholds, an image; `precision_covered`, `recall_covered`: 1 where the
        interval of `scoring.estimate` holds what the test list gives, else 0; `slope`, `offset`: of Platt's scaling with the
        test labels. With half of the classes shown: `auroc`, `auroc_product`, `auroc_softmax`: of objects of known classes
        against those of others; `false_finds_empty`: in images that hold no object of the classes, at the automatic
        thresholds, and `false_finds_empty_product`, `_softmax` from 0.5 on; `f1_unknown`, `f1_unknown_best`: as `f1`
        and `f1_best`. None where nothing is to be measured.
    """
    figures = _all_shown(data, method, k, seed)
    return figures | (_half_shown(data, method, k, seed) if len(data.classes) > 1 else dict.fromkeys(_HALF_SHOWN))


def _all_shown(data: OwnData, method: Method, k: int, seed: int) -> dict[str, float | None]:
    supports, queries = _drawn(data, data.classes, k, seed)
    scorer = method.learn(supports)
    calibration = calibration_of(scorer, supports)
    finds = searched(scorer, data, queries, data.classes)
    p, thresholds = _calibrated(finds, calibration)
    taken = p >= thresholds[finds.labels]
    common = [finds.class_mean_f1(p, np.full(len(thresholds), t)) for t in COMMON]
    soft = searched(_softmax_alone(scorer), data, queries, data.classes)
    slope, offset = platt(finds.scores, finds.right)
    half = np.full(len(thresholds), PLAIN_HALF)
    return {
        "ece": expected_calibration_error(p, finds.right),
        "ece_product": expected_calibration_error(finds.scores, finds.right),
        "ece_softmax": expected_calibration_error(soft.scores, soft.right),
        "f1": finds.class_mean_f1(p, thresholds),
        "f1_best": finds.class_mean_f1(p, None),
        "f1_common": max(common),
        "f1_product": finds.class_mean_f1(finds.scores, half),
        "f1_softmax": soft.class_mean_f1(soft.scores, half),
        "false_finds": finds.false_finds(taken)["false_finds"],
        **_covered(scorer, supports, calibration, finds, taken),
        "slope": slope,
        "offset": offset,
    }


_HALF_SHOWN = (
    *("auroc", "auroc_product", "auroc_softmax", "false_finds_empty", "false_finds_empty_product"),
    *("false_finds_empty_softmax", "f1_unknown", "f1_unknown_best"),
)


def _half_shown(data: OwnData, method: Method, k: int, seed: int) -> dict[str, float | None]:
    classes = data.classes[::2]
    supports, queries = _drawn(data, classes, k, seed)
    scorer = method.learn(supports)
    calibration = calibration_of(scorer, supports)
    finds = searched(scorer, data, queries, classes)
    soft = searched(_softmax_alone(scorer), data, queries, classes)
    p, thresholds = _calibrated(finds, calibration)
    known, best = objects_scored(scorer, calibration, data, queries, classes)
    mixed = 0 < known.sum() < len(known)
    return {name: float(roc_auc_score(known, scores)) if mixed else None for name, scores in best.items()} | {
        "false_finds_empty": finds.false_finds(p >= thresholds[finds.labels])["false_finds_empty"],
        "false_finds_empty_product": finds.false_finds(finds.scores >= PLAIN_HALF)["false_finds_empty"],
        "false_finds_empty_softmax": soft.false_finds(soft.scores >= PLAIN_HALF)["false_finds_empty"],
        "f1_unknown": finds.class_mean_f1(p, thresholds),
        "f1_unknown_best": finds.class_mean_f1(p, None),
    }


def _drawn(data: OwnData, classes: Sequence[str], k: int, seed: int) -> tuple[SupportSet, list[ImageRecord]]:
    """The marks of some classes, and the images to search."""
    marks = [boxes for name, boxes in zip(data.classes, data.marks(k, seed), strict=True) if name in classes]
    return SupportSet(tuple(classes), marks, data.records, data.embedded), data.queries(marks)


def _calibrated(finds: Finds, calibration: Calibration | None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n,) and thresholds (N,)."""
    if calibration is None:
        return finds.scores, np.full(len(finds.objects), PLAIN_HALF)
    return calibration(finds.scores, finds.labels), np.array(calibration.thresholds)


def _softmax_alone(scorer: ClassScorer) -> ClassScorer:
    return replace(scorer, rule=replace(scorer.rule, objectness=0))


def _covered(
    scorer: ClassScorer, supports: SupportSet, calibration: Calibration | None, finds: Finds, taken: np.ndarray
) -> dict[str, float | None]:
    """Whether the intervals expected from the marks hold the precision and recall of the test list."""
    marked = held_out(scorer, supports) if isinstance(scorer, LogisticRegression) and calibration else None
    right, objects = (taken & finds.right).sum(), finds.objects.sum()
    if marked is None or not taken.any() or not objects:
        return {"precision_covered": None, "recall_covered": None}
    expected = estimates(marked, calibration)[-1]
    return {
        "precision_covered": float(expected.precision.low <= right / taken.sum() <= expected.precision.high),
        "recall_covered": float(expected.recall.low <= right / objects <= expected.recall.high),
    }


def searched(scorer: ClassScorer, data: OwnData, queries: Sequence[ImageRecord], classes: Sequence[str]) -> Finds:
    """What a scorer finds in the queries."""
    rows, objects = [], np.zeros(len(classes), int)
    for record in queries:
        (detections,) = scorer.detect([data.embedded[record.id]])
        detections = detections.best_first()
        right = np.zeros(len(detections), bool)
        for c, boxes in enumerate(_plain(record, classes)):
            of_class = detections.labels == c
            right[of_class] = hits(detections.boxes[of_class], boxes)
            objects[c] += len(boxes)
        rows.append(
            (detections.scores, detections.labels, right, np.full(len(detections), not set(record.names) & set(classes)))
        )
    empty = sum(not set(r.names) & set(classes) for r in queries)
    return Finds(*map(np.concatenate, zip(*rows, strict=True)), objects, len(queries), empty)


def objects_scored(
    scorer: ClassScorer,
    calibration: Calibration | None,
    data: OwnData,
    queries: Sequence[ImageRecord],
    classes: Sequence[str],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of every object that a proposal reaches: whether its class is known, and the highest class score of its best proposal:
    calibrated (`auroc`), softmax times objectness (`auroc_product`) and softmax (`auroc_softmax`)."""
    known: list[bool] = []
    parts: list[dict[str, np.ndarray]] = []
    for record in queries:
        image = data.embedded[record.id]
        if not len(record.boxes) or not len(image.boxes):
            continue
        iou = pairwise_iou(record.boxes, image.boxes.numpy())
        reached = (iou.max(1) >= HIT_IOU) & ~np.asarray(record.difficult, bool)
        rows = iou.argmax(1)[reached]
        parts.append({f"auroc{name}": values[rows] for name, values in _highest(scorer, calibration, image).items()})
        known += [record.names[b] in classes for b in np.flatnonzero(reached)]
    names = parts[0] if parts else ()
    return np.array(known, bool), {name: np.concatenate([part[name] for part in parts]) for name in names}


def _highest(scorer: ClassScorer, calibration: Calibration | None, image: EmbeddedImage) -> dict[str, np.ndarray]:
    """The highest score of any class, (P,), by kind of score."""
    soft = scorer.scores(image).numpy()  # (P, N)
    product = scorer.rule.reported(soft, image.objectness.numpy())
    classes = np.broadcast_to(np.arange(soft.shape[1]), soft.shape)
    p = product if calibration is None else calibration(product, classes)
    return {"": p.max(1), "_product": product.max(1), "_softmax": soft.max(1)}


def _plain(record: ImageRecord, classes: Sequence[str]) -> list[np.ndarray]:
    """By class the boxes that are not difficult, (G_c, 4)."""
    plain = ~np.asarray(record.difficult, bool)
    names = np.array(record.names, object)
    return [record.boxes[plain & (names == name)] for name in classes]
