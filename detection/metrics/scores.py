"""What is kept of one episode's detections, and the curves and figures made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .curve import Curve, average_precision, precision_recall
from .layout import GroundTruth, ScoredBoxes
from .matching import Matches, Outcome

FIGURES = ("map", "repmet_pooled", "pooled_ap", "recall")


class Scores(NamedTuple):
    """The scores of one class, float32 and rising: of detections that are `right` by VOC's rules, and of the wrong ones
    those on `background` and all `other`."""

    right: np.ndarray
    background: np.ndarray
    other: np.ndarray


class EpisodeScores(NamedTuple):
    """One episode: `classes` by label, `n_ground_truth` boxes to be found by label, and RepMet's lists: scores of the
    boxes that were found (`hits`) and, rising, of `wrong`-class detections."""

    number: int
    n_detections: int
    n_ground_truth: Mapping[int, int]
    classes: Mapping[int, Scores]
    hits: np.ndarray
    wrong: np.ndarray


class Pooled(NamedTuple):
    """What one or more episodes bring into the published benchmark's curve: scores of the boxes that were found
    (`hits`) and of `false` detections, float32 and rising, and `n` boxes to be found."""

    hits: np.ndarray
    false: np.ndarray
    n: int


def gather(number: int, detections: ScoredBoxes, truth: GroundTruth, matches: Matches) -> EpisodeScores:
    """Sorts the scores of an episode by class and by what the detections turned out to be."""
    outcome = matches.outcome
    kinds = (
        outcome == Outcome.RIGHT,
        outcome == Outcome.BACKGROUND,
        (outcome == Outcome.WRONG_CLASS) | (outcome == Outcome.DUPLICATE),
    )
    classes = {}
    for label in np.unique(detections.label):
        of_class = detections.label == label
        classes[int(label)] = Scores(*(np.sort(detections.score[of_class & kind]) for kind in kinds))
    labels, counts = np.unique(truth.label[~truth.difficult], return_counts=True)
    n_ground_truth = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    hits = matches.hit_score[matches.hit_score > 0]
    return EpisodeScores(number, len(outcome), n_ground_truth, classes, hits, np.sort(matches.wrong))


def figures(episode: EpisodeScores) -> dict[str, float]:
    """The figures of one episode on its own; NaN where no box is to be found. `map` is the mean over classes with boxes."""
    n = sum(episode.n_ground_truth.values())
    if not n:
        return {"n_ground_truth": 0, **dict.fromkeys(FIGURES, float("nan"))}
    by_class = [
        average_precision(voc_curve({label: episode.classes[label]}, count)) if label in episode.classes else 0.0
        for label, count in episode.n_ground_truth.items()
    ]
    return {
        "n_ground_truth": n,
        "map": float(np.mean(by_class)),
        "repmet_pooled": average_precision(repmet_curve([pooled(episode)])),
        "pooled_ap": average_precision(voc_curve(episode.classes, n)),
        "recall": len(episode.hits) / n,
    }


def pooled(episode: EpisodeScores) -> Pooled:
    """The episode's part of the published benchmark's curve: wrong classes once a box, background every time."""
    false = [episode.wrong, *(scores.background for scores in episode.classes.values())]
    return Pooled(np.sort(episode.hits), np.sort(np.concatenate(false)), sum(episode.n_ground_truth.values()))


def joined(parts: Sequence[Pooled]) -> Pooled:
    """Several parts as one."""
    hits, false, n = zip(*parts, strict=True)
    return Pooled(np.sort(np.concatenate(hits)), np.sort(np.concatenate(false)), sum(n))


def repmet_curve(parts: Sequence[Pooled]) -> Curve:
    """The published benchmark's curve over the boxes of one or more episodes."""
    hits = np.concatenate([part.hits for part in parts])
    return precision_recall(hits, [part.false for part in parts], sum(part.n for part in parts))


def voc_curve(classes: Mapping[int, Scores], n: int) -> Curve:
    """The curve of greedy matching over n boxes, the classes pooled."""
    right = [scores.right for scores in classes.values()]
    false = [kind for scores in classes.values() for kind in (scores.background, scores.other)]
    return precision_recall(np.concatenate(right) if right else np.empty(0, dtype=np.float32), false, n)
