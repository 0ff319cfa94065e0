"""Episodes scored, shot by shot and method by method, from images that were embedded once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.dist import all_gather_object

from data.voc import ImageRecord
from detection.embed import METHODS, EmbeddedImage
from detection.episode_list import Episode, Episodes
from detection.fewshot import FewShotRule, run_episode
from detection.metrics import EpisodicMetric
from detection.processes import my_share


@dataclass(frozen=True)
class Result:
    """One method at one shot over all episodes."""

    method: str
    shot: int
    metric: EpisodicMetric


@dataclass(frozen=True)
class Pools:
    """The images that episodes draw from, by id.

    A support image may be a query image too, then both records are the same file.
    """

    support: Mapping[str, ImageRecord]
    query: Mapping[str, ImageRecord]

    @classmethod
    def of(cls, support: Sequence[ImageRecord], query: Sequence[ImageRecord]) -> "Pools":
        return cls({r.id: r for r in support}, {r.id: r for r in query})

    def used_by(self, episodes: Episodes) -> list[ImageRecord]:
        """Every distinct image of the episodes, once."""
        used = {}
        for episode in episodes.episodes:
            used |= {i: self.support[i] for boxes in episode.support.values() for i, _ in boxes}
            used |= {i: self.query[i] for images in episode.query.values() for i in images}
        return list(used.values())


def ground_truth(number: int, episode: Episode, pools: Pools, class_ids: Mapping[str, int]) -> np.ndarray:
    """The boxes of the episode's classes on its query slots, in the columns of `EpisodicMetric.add`, (m, 8)."""
    rows = []
    for slot, (_, image) in enumerate(episode.slots):
        r = pools.query[image]
        rows += [
            [number, slot, class_ids[name], *box, difficult]
            for name, box, difficult in zip(r.names, r.boxes, r.difficult, strict=True)
            if name in episode.classes
        ]
    return np.array(rows, dtype=np.float64).reshape(-1, 8)


def detections(number: int, episode: Episode, found: Sequence[np.ndarray], class_ids: Mapping[str, int]) -> np.ndarray:
    """What `fewshot.run_episode` found, in the columns of `EpisodicMetric.add`, (n, 8)."""
    ids = np.array([class_ids[name] for name in episode.classes])
    tables = [
        np.column_stack([np.full(len(f), number), np.full(len(f), slot), ids[f[:, 0].astype(int)], f[:, 1:]])
        for slot, f in enumerate(found)
    ]
    return np.concatenate(tables)


def evaluate_episodes(
    episodes: Episodes,
    pools: Pools,
    embedded: Mapping[str, EmbeddedImage],
    rule: FewShotRule,
    *,
    methods: Sequence[str] = METHODS,
    seed: int = 0,
) -> Iterator[Result]:
    """Scores all episodes by every method at every shot; class numbers are those of `class_numbers(episodes)`.

    Several processes share the episodes; each gets the figures over all of them.
    """
    class_ids = class_numbers(episodes)
    truth = [ground_truth(n, e, pools, class_ids) for n, e in enumerate(episodes.episodes)]
    for method in methods:
        for shot in episodes.shots:
            metric = EpisodicMetric(seed=seed)
            for number, episode in my_share(list(enumerate(episodes.episodes))):
                found = run_episode(episode, shot, embedded, pools.support, rule, method)
                slots = np.array([[number, slot] for slot in range(len(episode.slots))])
                metric.add(detections(number, episode, found, class_ids), truth[number], slots=slots)
            parts = all_gather_object(metric)
            for part in parts[1:]:
                parts[0].merge(part)
            yield Result(method, shot, parts[0])


def class_numbers(episodes: Episodes) -> dict[str, int]:
    """A number for every class that occurs, in alphabetical order."""
    return {name: i for i, name in enumerate(sorted({name for e in episodes.episodes for name in e.classes}))}
