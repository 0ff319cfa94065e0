"""The figures of episodic few-shot detection, gathered episode by episode and exact over tens of millions of boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from .curve import Curve, average_precision
from .intervals import bootstrap_interval
from .jackknife import in_groups, jackknife_interval, leave_one_out
from .layout import (
    DETECTION_COLUMNS,
    GROUND_TRUTH_COLUMNS,
    ByEpisode,
    GroundTruth,
    ScoredBoxes,
    as_table,
    read_detections,
    read_ground_truth,
)
from .matching import match
from .scores import FIGURES, EpisodeScores, Pooled, Scores, figures, gather, pooled, repmet_curve, voc_curve


class EpisodicMetric:
    """Gathers detections and gives pooled, per-class and per-episode average precision, from one list.

    At most twelve bytes are kept for a detection. Episodes may come in any order, in pieces of whole episodes, and from
    several processes (`merge`); the figures do not depend on it, nor on the order of rows. Scores are compared as float32,
    and detections of one score enter a curve together.

    Args:
        iou: overlap from which a box counts as hit, in (0, 1].
        plus_one: box widths are x2 - x1 + 1 (VOC's whole pixels, and the published benchmark), else x2 - x1.
        seed: of the bootstrap over episodes.
    """

    def __init__(self, iou: float = 0.5, *, plus_one: bool = True, seed: int = 0) -> None:
        if not 0 < iou <= 1:
            raise ValueError(f"iou is a fraction in (0, 1], got {iou}")
        self.iou, self.plus_one, self.seed = float(iou), bool(plus_one), seed
        self._episodes: dict[int, dict[str, float]] = {}
        self._n_ground_truth: defaultdict[int, int] = defaultdict(int)
        self._scores: defaultdict[int, list[Scores]] = defaultdict(list)
        self._parts: dict[int, Pooled] = {}
        self._groups: list[Pooled] = []  # of `_parts`, made when they are asked for
        self._n_detections = 0

    def add(self, detections: np.ndarray, ground_truth: np.ndarray, *, slots: np.ndarray | None = None) -> None:
        """Adds one or more whole episodes; on an error nothing of them is added.

        Args:
            detections: (n, 8) episode, image, class, score, x1, y1, x2, y2. `image` is the query slot: an image that is
                listed under two classes of an episode is two. Scores are at least 0; those of 0 are dropped.
            ground_truth: (m, 7) episode, image, class, x1, y1, x2, y2, or (m, 8) with `difficult` (0 or 1) at the end.
                Only boxes of the episode's classes belong here.
            slots: (s, 2) episode and image of every query slot, needed where some hold no box.

        Raises:
            ValueError: wrong columns or values (`layout`), a detection in a slot that has neither a box nor an entry in
                `slots`, or an episode that was added before.
        """
        added = []
        for number, scored, truth, images in self._split(detections, ground_truth, slots):
            if number in self._episodes:
                raise ValueError(f"episode {number} was added before: an episode comes whole, in one call")
            unknown = ~np.isin(scored.image, images)
            if unknown.any():
                raise ValueError(
                    f"episode {number}: a detection is in image {scored.image[np.argmax(unknown)]}, for which there is no "
                    "ground truth; if that image holds no box, list it in `slots`"
                )
            added.append(gather(number, scored, truth, match(scored, truth, iou=self.iou, plus_one=self.plus_one)))
        for episode in added:
            self._commit(episode)

    def merge(self, other: EpisodicMetric) -> None:
        """Adds what another accumulator, of other episodes, has gathered (another process, another part)."""
        if (other.iou, other.plus_one) != (self.iou, self.plus_one):
            raise ValueError(f"iou and plus_one differ: {self.iou}, {self.plus_one} and {other.iou}, {other.plus_one}")
        if twice := self._episodes.keys() & other._episodes.keys():
            raise ValueError(f"{len(twice)} episodes are in both, the first is {min(twice)}")
        self._episodes |= other._episodes
        for label, n in other._n_ground_truth.items():
            self._n_ground_truth[label] += n
        for label, scores in other._scores.items():
            self._scores[label] += scores
        self._parts |= other._parts
        self._groups = []
        self._n_detections += other._n_detections

    def compute(self, *, intervals: bool = True) -> dict[str, Any]:
        """The figures over all episodes so far; fractions in [0, 1], and plain Python numbers.

        `repmet_pooled`: the published benchmark's AP, one curve over all classes and episodes, where duplicates are free;
        `pooled_ap`: the same with VOC's greedy matching, duplicates wrong; `class_map`: AP of every class over its
        episodes, then the mean over classes; `episode_map`: mean over an episode's classes, then over episodes; `recall`:
        boxes found by any detection of their class; `counts`: detections, boxes, and RepMet's right, wrong-class and
        background ones. Classes and episodes without a box to be found have no AP and enter no mean.

        Args:
            intervals: also `repmet_pooled_ci95` and `episode_map_ci95`, 95 % intervals over episodes, by the jackknife
                over groups of them and by the bootstrap; [0, 1] for one episode.

        Raises:
            ValueError: no box is to be found.
        """
        repmet, greedy = self._pooled()
        published = average_precision(repmet)
        boxes = sorted(self._n_ground_truth.items())  # in one order: a mean's last bit depends on it
        by_class = [average_precision(voc_curve({label: self._of_class(label)}, n)) for label, n in boxes]
        maps = self.per_episode()["map"]
        maps = maps[~np.isnan(maps)]
        n_ground_truth, n_hits = sum(self._n_ground_truth.values()), sum(len(part.hits) for part in self._parts.values())
        n_false = sum(len(part.false) for part in self._parts.values())
        n_background = sum(len(self._of_class(label).background) for label in self._scores)
        result = {
            "repmet_pooled": published,
            "pooled_ap": average_precision(greedy),
            "class_map": float(np.mean(by_class)),
            "episode_map": float(np.mean(maps)),
            "recall": n_hits / n_ground_truth,
            "counts": {
                "n_detections": self._n_detections,
                "n_ground_truth": n_ground_truth,
                "tp": n_hits,
                "fp_wrong": n_false - n_background,
                "fp_background": n_background,
            },
        }
        if intervals:
            both = jackknife_interval(published, self.pooled_without()), bootstrap_interval(maps, seed=self.seed)
            for name, interval in zip(("repmet_pooled", "episode_map"), both, strict=True):
                result[f"{name}_ci95"] = np.clip(interval, 0.0, 1.0).tolist()
        return result

    def pooled_without(self) -> np.ndarray:
        """`repmet_pooled` without each of up to 50 groups of neighbouring episodes, (G,), for `jackknife_interval`: of two
        methods on the same episodes the difference is paired."""
        return leave_one_out(self._grouped())

    def curves(self, points: int = 500) -> dict[str, dict[str, list[float]]]:
        """Curves of `repmet_pooled` and `pooled_ap` for a plot: recall, precision and score, thinned to `points`."""
        thinned = {}
        for name, curve in zip(("repmet_pooled", "pooled_ap"), self._pooled(), strict=True):
            kept = np.unique(np.linspace(0, len(curve.score) - 1, min(points, len(curve.score))).astype(int))
            thinned[name] = {field: getattr(curve, field)[kept].tolist() for field in ("recall", "precision", "score")}
        return thinned

    def per_episode(self) -> dict[str, np.ndarray]:
        """By rising episode number: `episode`, `n_ground_truth` and the figures `map`, `repmet_pooled`, `pooled_ap` and
        `recall` of every episode on its own (NaN for one without a box), as paired comparisons need them."""
        numbers = sorted(self._episodes)
        table = {name: np.array([self._episodes[number][name] for number in numbers], dtype=np.float64) for name in FIGURES}
        counts = np.array([self._episodes[number]["n_ground_truth"] for number in numbers], dtype=np.int64)
        return {"episode": np.array(numbers, dtype=np.int64), "n_ground_truth": counts, **table}

    def _split(
        self, detections: np.ndarray, ground_truth: np.ndarray, slots: np.ndarray | None
    ) -> Iterator[tuple[int, ScoredBoxes, GroundTruth, np.ndarray]]:
        scored = ByEpisode(as_table(detections, DETECTION_COLUMNS, "detections"))
        truth = ByEpisode(as_table(ground_truth, GROUND_TRUTH_COLUMNS, "ground truth", "difficult"))
        empty = ByEpisode(as_table([] if slots is None else slots, ("episode", "image"), "slots"))
        for number in sorted({*scored.numbers, *truth.numbers, *empty.numbers}):
            if not float(number).is_integer():
                raise ValueError(f"episode {number} is no whole number; is the order of columns right?")
            boxes = read_ground_truth(truth.rows(number), f"ground truth of episode {number:.0f}")
            images = np.concatenate((boxes.image, empty.rows(number)[:, 0]))
            yield int(number), read_detections(scored.rows(number), f"detections of episode {number:.0f}"), boxes, images

    def _commit(self, episode: EpisodeScores) -> None:
        self._episodes[episode.number] = figures(episode)
        for label, n in episode.n_ground_truth.items():
            self._n_ground_truth[label] += n
        for label, scores in episode.classes.items():
            self._scores[label].append(scores)
        self._n_detections += episode.n_detections
        self._parts[episode.number] = pooled(episode)
        self._groups = []

    def _of_class(self, label: int) -> Scores:
        """All scores of a class; merged in place, so that a second look costs nothing."""
        parts = self._scores.get(label) or [Scores(*[np.empty(0, dtype=np.float32)] * 3)]
        if len(parts) > 1:
            parts[:] = [Scores(*(np.sort(np.concatenate(kind)) for kind in zip(*parts, strict=True)))]
        return parts[0]

    def _grouped(self) -> list[Pooled]:
        if not self._groups:
            self._groups = in_groups([self._parts[number] for number in sorted(self._parts)])
        return self._groups

    def _pooled(self) -> tuple[Curve, Curve]:
        n = sum(self._n_ground_truth.values())
        if not n:
            raise ValueError(f"no box was to be found in {len(self._episodes)} episodes: there is nothing to measure")
        return repmet_curve(self._grouped()), voc_curve({label: self._of_class(label) for label in sorted(self._scores)}, n)


def episodic_metrics(
    detections: np.ndarray, ground_truth: np.ndarray, iou: float = 0.5, *, plus_one: bool = True, seed: int = 0
) -> dict[str, Any]:
    """All figures of episodic few-shot detection in one call: see `EpisodicMetric.add` for the columns and
    `EpisodicMetric.compute` for the keys.

    Raises:
        ValueError: the arrays are not laid out as described, or no box is to be found.
    """
    metric = EpisodicMetric(iou, plus_one=plus_one, seed=seed)
    metric.add(detections, ground_truth)
    return metric.compute()
