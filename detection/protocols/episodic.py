"""Episodes scored, shot by shot and method by method, from images that were embedded once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.dist import all_gather_object
from torch import Tensor

from repmet.data.sources.voc import ImageRecord
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.embedded_image import EmbeddedImage, joined, raw_features
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.episode import Episode, Episodes
from repmet.detection.metrics import EpisodicMetric
from repmet.detection.scoring.class_scores import class_scores
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.finetune import EpisodeDiverged, FinetuneRule, adapted
from repmet.detection.scoring.finetune_on_features import adapted_head, on_kept_features
from repmet.detection.scoring.methods import DEFAULT_METHODS, Method, NearestRepresentative
from repmet.detection.scoring.representatives import SupportSet, base_representatives
from repmet.detection.scoring.rule import FewShotRule
from repmet.detection.scoring.suppression import after_nms
from repmet.experiments.running.processes import my_share, say


@dataclass(frozen=True)
class Result:
    """One method at one shot over all episodes but the `skipped` ones, whose fine-tuning diverged."""

    method: str
    shot: int
    metric: EpisodicMetric
    skipped: tuple[int, ...] = ()


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

    def supports_of(self, episodes: Episodes) -> list[ImageRecord]:
        """Every distinct support image of the episodes, once."""
        ids = dict.fromkeys(i for e in episodes.episodes for boxes in e.support.values() for i, _ in boxes)
        return [self.support[i] for i in ids]

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


def detection_rows(
    number: int, episode: Episode, detections: Sequence[Detections], class_ids: Mapping[str, int]
) -> np.ndarray:
    """What was found on the episode's query slots, in the columns of `EpisodicMetric.add`, (n, 8)."""
    ids = np.array([class_ids[name] for name in episode.classes])
    tables = [
        np.column_stack([np.full(len(f), number), np.full(len(f), slot), ids[f.labels], f.scores, f.boxes])
        for slot, f in enumerate(detections)
    ]
    return np.concatenate(tables)


def evaluate_episodes(
    episodes: Episodes,
    pools: Pools,
    embedded: Mapping[str, EmbeddedImage],
    rule: FewShotRule,
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    seed: int = 0,
    base: Tensor | None = None,
) -> Iterator[Result]:
    """Scores all episodes by every method at every shot; class numbers are those of `class_numbers(episodes)`.

    Several processes share the episodes; each gets the figures over all of them.

    Args:
        base: representatives of classes that compete without being looked for, see `detection.scoring.methods.Method`.
    """
    class_ids = class_numbers(episodes)
    truth = [ground_truth(n, e, pools, class_ids) for n, e in enumerate(episodes.episodes)]
    for method in [Method(name, rule, base) for name in methods]:
        for shot in episodes.shots:
            metric = EpisodicMetric(seed=seed)
            for number, episode in my_share(list(enumerate(episodes.episodes))):
                supports = SupportSet.of(episode, shot, pools.support, embedded)
                detections = method.detect(supports, [embedded[image] for _, image in episode.slots])
                slots = np.array([[number, slot] for slot in range(len(episode.slots))])
                metric.add(detection_rows(number, episode, detections, class_ids), truth[number], slots=slots)
            parts = all_gather_object(metric)
            for part in parts[1:]:
                parts[0].merge(part)
            yield Result(method.name, shot, parts[0])


def evaluate_finetuned(
    episodes: Episodes,
    pools: Pools,
    embedded: Mapping[str, EmbeddedImage],
    rule: FewShotRule,
    finetune: FinetuneRule,
    detector: Detector,
    *,
    seed: int = 0,
) -> Iterator[Result]:
    """Scores all episodes by the detector fine-tuned on each one's supports, method `repmet_finetuned`.

    The only method that may run the network inside an episode: once over the supports an epoch, once over the queries. It
    does not where only the embedding is trained (`finetune_on_features`). An episode whose fine-tuning diverges is
    named, left out and counted in `Result.skipped`; the others are kept. A shot of which none is left gives no result.
    """
    class_ids = class_numbers(episodes)
    way = _FinetunedOnKept if on_kept_features(detector.model, finetune) else _FinetunedNetwork
    play = way(pools, embedded, rule, finetune, detector)
    for shot in episodes.shots:
        metric, skipped = EpisodicMetric(seed=seed), []
        for number, episode in my_share(list(enumerate(episodes.episodes))):
            try:
                detections = play(episode, shot)
            except EpisodeDiverged as error:
                print(f"episode {number}, {shot}-shot, is skipped: {error}", flush=True)
                skipped.append(number)
                continue
            slots = np.array([[number, slot] for slot in range(len(episode.slots))])
            truth = ground_truth(number, episode, pools, class_ids)
            metric.add(detection_rows(number, episode, detections, class_ids), truth, slots=slots)
        parts = all_gather_object((metric, skipped))
        for part, more in parts[1:]:
            parts[0][0].merge(part)
            parts[0][1].extend(more)
        if len(parts[0][1]) == len(episodes.episodes):
            say(f"fine-tuning diverged in all episodes, {shot}-shot: there are no figures of it")
            continue
        yield Result("repmet_finetuned", shot, parts[0][0], tuple(sorted(parts[0][1])))


@dataclass(frozen=True)
class _Finetuned:
    """Detections on every query slot of an episode, by a detector that is fine-tuned for it."""

    pools: Pools
    embedded: Mapping[str, EmbeddedImage]
    rule: FewShotRule
    finetune: FinetuneRule
    detector: Detector

    @property
    def base(self) -> Tensor | None:
        """The base classes that compete, as their training left them: not to be asked for while the head is adapted."""
        return base_representatives(self.detector.model.roi_head.bbox_head, self.rule)

    def supports(self, episode: Episode, shot: int) -> tuple[SupportSet, Tensor]:
        """The support boxes, and where the episode's representatives begin."""
        supports = SupportSet.of(episode, shot, self.pools.support, self.embedded)
        return supports, supports.representatives(self.rule, "repmet")


class _FinetunedNetwork(_Finetuned):
    def __call__(self, episode: Episode, shot: int) -> list[Detections]:
        model, pipeline = self.detector.model, self.detector.cfg.test_pipeline
        supports, start = self.supports(episode, shot)
        queries = [self.pools.query[image] for _, image in episode.slots]
        embedder = Embedder(model, pipeline, spaces=("repmet",), share=False)
        with adapted(model, pipeline, supports, start, self.finetune) as points:
            looked = embedder(queries)
        scorer = NearestRepresentative(rule=self.rule, representatives=points, base=self.base)
        return scorer.detect([looked[r.id] for r in queries])


class _FinetunedOnKept(_Finetuned):
    def __call__(self, episode: Episode, shot: int) -> list[Detections]:
        supports, start = self.supports(episode, shot)
        head = adapted_head(self.detector.model.roi_head, supports, start, self.finetune)
        images = [self.embedded[image] for _, image in episode.slots]
        embeddings = head.embed(raw_features(joined(images)))
        scores = class_scores(embeddings, head.representatives.points, self.rule, self.base)
        return [detections for detections, _ in after_nms(images, scores, self.rule)]


def class_numbers(episodes: Episodes) -> dict[str, int]:
    """A number for every class that occurs, in alphabetical order."""
    return {name: i for i, name in enumerate(sorted({name for e in episodes.episodes for name in e.classes}))}
