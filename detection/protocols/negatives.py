"""Which scores negative representatives change, and what that is worth.

A detector's episodes are scored with the negatives of `np_repmet` and without them. Every pair of a proposal and a class is
of a kind, by where the proposal's box lies:

right        on an object of the class (IoU from 0.5 on)
near         beside such an object (from 0.1 on), on none: what negatives are made for
other class  on an object of another class of the episode
background   anywhere else

Shapes: N classes of an episode, P proposals.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage, joined
from repmet.detection.episodes.episode import Episode
from repmet.detection.episodes.sampling import Episodes
from repmet.detection.metrics import EpisodicMetric
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.protocols.episodic import Pools, detection_rows, ground_truth
from repmet.detection.scoring.negatives import NegativeRepresentatives
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.suppression import after_nms

RIGHT, NEAR, OTHER, BACKGROUND = KINDS = ("right", "near", "other class", "background")
BOTH = ("without", "with")
HIT_IOU, NEAR_IOU = 0.5, 0.1
SHOWN = 0.05


def kinds_of(image: EmbeddedImage, record: ImageRecord, classes: Sequence[str]) -> np.ndarray:
    """The kind of every proposal and class of an image, numbers in `KINDS`, (P, N)."""
    overlap = np.zeros((len(image.boxes), len(classes)))
    names = np.array(record.names, object)
    for c, name in enumerate(classes):
        if (names == name).any():
            overlap[:, c] = pairwise_iou(image.boxes.numpy(), record.boxes[names == name]).max(1)
    on_any = overlap.max(1, keepdims=True) >= HIT_IOU  # (P, 1)
    places = [overlap >= HIT_IOU, np.broadcast_to(on_any, overlap.shape), overlap >= NEAR_IOU]
    return np.select(places, [KINDS.index(RIGHT), KINDS.index(OTHER), KINDS.index(NEAR)], KINDS.index(BACKGROUND))


class Tally:
    """The pairs and the detections of one number of shots, gathered episode by episode."""

    def __init__(self, seed: int) -> None:
        self.pairs: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        self.metrics = {name: EpisodicMetric(seed=seed) for name in (*BOTH, *KINDS)}

    def add(
        self, number: int, episode: Episode, scorer: NegativeRepresentatives, pools: Pools, images: Sequence[EmbeddedImage]
    ) -> None:
        """An episode, whose query slots show these images."""
        every, plain = joined(images), replace(scorer, negatives=None)
        after, before = scorer.scores(every), plain.scores(every)  # (P, N) of all slots
        away = (scorer.distances(every) - plain.distances(every)).amin(-1)[:, : len(episode.classes)]
        records = [pools.query[name] for _, name in episode.slots]
        kind = np.concatenate([kinds_of(*pair, episode.classes) for pair in zip(images, records, strict=True)])
        shown = (before >= SHOWN).numpy()
        for name, values in {"kind": kind, "lengthened": away, "without": before, "with": after}.items():
            self.pairs[name].append(np.asarray(values)[shown])
        numbers = {name: c for c, name in enumerate(episode.classes)}  # pooled figures compare no classes
        truth = ground_truth(number, episode, pools, numbers)
        slots = np.array([[number, slot] for slot in range(len(images))])
        for name, metric in self.metrics.items():
            changed = torch.from_numpy(kind == KINDS.index(name)) if name in KINDS else torch.tensor(name == "with")
            detections = [kept for kept, _ in after_nms(images, torch.where(changed, after, before), scorer.rule)]
            metric.add(detection_rows(number, episode, detections, numbers), truth, slots=slots)

    def rows(self) -> Iterator[dict[str, Any]]:
        """With and without negatives, then kind by kind."""
        values = {name: np.concatenate(parts) for name, parts in self.pairs.items()}
        kind, right = values["kind"], values["kind"] == KINDS.index(RIGHT)
        for name, metric in self.metrics.items():
            figures = metric.compute()
            row = {"scores": name, "AP": _plain(figures["repmet_pooled"], figures["repmet_pooled_ci95"])}
            there = kind == KINDS.index(name) if name in KINDS else np.zeros(len(kind), bool)
            if there.any():
                row["pairs"] = _plain(int(there.sum()))
                row |= {key: _plain(float(values[key][there].mean())) for key in ("lengthened", *BOTH)}
            if there.any() and right.any() and name != RIGHT:
                both = right | there
                row |= {f"auroc_{key}": _plain(roc_auc_score(right[both], values[key][both])) for key in BOTH}
            yield row


def measure(
    episodes: Episodes, pools: Pools, embedded: Mapping[str, EmbeddedImage], rule: FewShotRule, base: Tensor | None = None
) -> list[dict[str, Any]]:
    """At every number of shots a row without negatives, one with them, and one a kind, as if they changed its scores alone.

    Returns:
        `scores`: `without`, `with` or a kind; `AP`: pooled, RepMet's. Of a kind: how many `pairs` score `SHOWN` or more
        without negatives; of these the mean by which negatives lengthen the squared distance, `lengthened`, and the mean
        score `without` and `with`; `auroc_without`, `auroc_with`: how surely a right pair scores above one of this kind.
    """
    rows = []
    for shot in episodes.shots:
        tally = Tally(episodes.seed)
        for number, episode in enumerate(episodes.episodes):
            supports = SupportSet.of(episode, shot, pools.support, embedded)
            scorer = NegativeRepresentatives.learn(supports, rule, base)
            tally.add(number, episode, scorer, pools, [embedded[name] for _, name in episode.slots])
        rows += [{"shot": shot, "episodes": len(episodes.episodes)} | row for row in tally.rows()]
    return rows


def _plain(mean: float, ci95: Sequence[float] | None = None) -> dict[str, Any]:
    return {"mean": mean} | ({} if ci95 is None else {"ci95": list(ci95)})
