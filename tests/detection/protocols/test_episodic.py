"""Episodes scored end to end on embedded images whose right answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.episodes.episode import Episode
from repmet.detection.episodes.sampling import sample_episodes
from repmet.detection.metrics import episodic_metrics
from repmet.detection.protocols.episodic import Pools, class_numbers, detection_rows, evaluate_episodes, ground_truth
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule

CLASSES = ("ant", "bee", "cow", "dog", "emu")
DIM = 24
PLACES = [(x, y, x + 20.0, y + 24.0) for x in (0.0, 30.0, 60.0) for y in (5.0, 40.0, 70.0)]  # none overlaps another


def make_records(prefix, count, seed):
    """Images with 2 to 4 objects in places of their own, about one in ten difficult."""
    rng = np.random.default_rng(seed)
    records = []
    for k in range(count):
        n = rng.integers(2, 5)
        boxes = np.array(PLACES, np.float32)[rng.permutation(9)[:n]]
        names = tuple(rng.choice(CLASSES, n).tolist())
        records.append(ImageRecord(f"{prefix}{k:02d}", Path(), 100, 100, names, boxes, rng.random(n) < 0.1))
    return records


def embed(record, mistake=0):
    """Nine proposals: those on an object have its class's direction, the others one of no class.

    mistake: every object has the direction of the class so many places further.
    """
    boxes = torch.tensor(PLACES)
    name_at = {tuple(b): n for b, n in zip(record.boxes.tolist(), record.names, strict=True)}
    names = [name_at.get(place) for place in PLACES]
    right = [CLASSES.index(n) if n else len(CLASSES) + k for k, n in enumerate(names)]
    wrong = [(CLASSES.index(n) + mistake) % len(CLASSES) if n else len(CLASSES) + k for k, n in enumerate(names)]
    axes = torch.eye(DIM)
    annotated = axes[[CLASSES.index(n) for n in record.names]]
    return EmbeddedImage(
        boxes=boxes,
        proposals=boxes,
        objectness=torch.ones(len(boxes)),
        embeddings={"repmet": axes[right], "baseline_roi": axes[wrong]},
        annotated={"repmet": annotated, "baseline_roi": annotated},
    )


@pytest.fixture(scope="module")
def toy():
    support, query = make_records("s", 40, 0), make_records("q", 40, 1)
    episodes = sample_episodes(support, query, way=3, shots=(1, 3), query_images=4, episodes=6, seed=5, classes=CLASSES[:4])
    pools = Pools.of(support, query)
    # Supports are right by either method; the second one takes every query object for another class.
    embedded = {r.id: embed(r) for r in support} | {r.id: embed(r, mistake=1) for r in query}
    return episodes, pools, embedded


def test_right_embeddings_find_everything_and_wrong_ones_nothing(toy):
    episodes, pools, embedded = toy
    results = list(evaluate_episodes(episodes, pools, embedded, FewShotRule(), methods=("repmet", "baseline_roi")))
    assert [(r.method, r.shot) for r in results] == [("repmet", 1), ("repmet", 3), ("baseline_roi", 1), ("baseline_roi", 3)]
    figures = ("repmet_pooled", "pooled_ap", "class_map", "episode_map")
    for result in results:
        metrics = result.metric.compute()
        if result.method == "repmet":
            assert [metrics[name] for name in figures] == pytest.approx([1.0] * 4)
            assert metrics["episode_map_ci95"] == pytest.approx([1.0, 1.0])
        else:
            assert max(metrics[name] for name in figures) < 0.25
        assert metrics["recall"] == 1.0  # without a score floor even the wrong ones are somewhere
        assert len(result.metric.per_episode()["map"]) == 6


def test_the_figures_are_those_of_the_metric_on_the_plain_arrays(toy):
    episodes, pools, _ = toy
    generator = torch.Generator().manual_seed(0)
    noisy = {}
    for r in (*pools.support.values(), *pools.query.values()):
        right = embed(r)
        noise = torch.randn(9, DIM, generator=generator) * 0.25
        mixed = torch.nn.functional.normalize(right.embeddings["repmet"] + noise, dim=-1)
        noisy[r.id] = EmbeddedImage(right.boxes, right.proposals, right.objectness, {"repmet": mixed}, right.annotated)
    rule = FewShotRule()
    detections, truth = [], []
    for number, episode in enumerate(episodes.episodes):
        supports = SupportSet.of(episode, 1, pools.support, noisy)
        played = Method("repmet", rule).detect(supports, [noisy[image] for _, image in episode.slots])
        for slot, ((_, name), of_slot) in enumerate(zip(episode.slots, played, strict=True)):
            for c, score, box in zip(of_slot.labels, of_slot.scores, of_slot.boxes, strict=True):
                detections.append([number, slot, CLASSES.index(episode.classes[c]), score, *box])
            record = pools.query[name]
            for k, label in enumerate(record.names):
                if label in episode.classes:
                    truth.append([number, slot, CLASSES.index(label), *record.boxes[k], record.difficult[k]])
    expected = episodic_metrics(np.array(detections), np.array(truth, dtype=np.float64), seed=3)
    result = next(iter(evaluate_episodes(episodes, pools, noisy, rule, methods=("repmet",), seed=3)))
    metrics = result.metric.compute()
    assert metrics == expected
    assert 0.2 < metrics["pooled_ap"] < 0.999, "a perfect score would prove little"


def record(name, names, difficult):
    boxes = np.arange(4 * len(names), dtype=np.float32).reshape(-1, 4)
    return ImageRecord(name, Path(), 100, 100, tuple(names), boxes, np.array(difficult, bool))


EPISODE = Episode(("bee", "ant"), {"bee": (("s", 0),), "ant": (("s", 1),)}, {"bee": ("q1",), "ant": ("q2", "q1")})
POOLS = Pools.of(
    [record("s", ["bee", "ant"], [0, 0])],
    [record("q1", ["bee", "cow", "ant"], [0, 0, 1]), record("q2", ["cow", "ant"], [0, 0])],
)
NUMBERS = {"ant": 0, "bee": 1, "cow": 2}


def test_ground_truth_holds_the_episodes_classes_slot_by_slot():
    rows = ground_truth(7, EPISODE, POOLS, NUMBERS)
    bee, ant = [1, 0, 1, 2, 3, 0], [0, 8, 9, 10, 11, 1]
    assert rows.tolist() == [[7, 0, *bee], [7, 0, *ant], [7, 1, 0, 4, 5, 6, 7, 0], [7, 2, *bee], [7, 2, *ant]]
    nothing = Episode(("emu",), {"emu": ()}, {"emu": ("q1",)})
    assert ground_truth(0, nothing, POOLS, {"emu": 0}).shape == (0, 8)


def test_detections_get_episode_slot_and_class_numbers():
    detections = [
        Detections([[1, 2, 3, 4], [5, 6, 7, 8]], [0.5, 0.25], [0, 1]),
        Detections([], [], []),
        Detections([[0, 0, 9, 9]], [0.75], [1]),
    ]
    rows = detection_rows(7, EPISODE, detections, NUMBERS)
    assert rows.tolist() == [[7, 0, 1, 0.5, 1, 2, 3, 4], [7, 0, 0, 0.25, 5, 6, 7, 8], [7, 2, 0, 0.75, 0, 0, 9, 9]]


def test_images_without_detections_are_allowed():
    nothing = EmbeddedImage(
        torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0), {"repmet": torch.zeros(0, 3)}, {"repmet": torch.eye(3)[:2]}
    )
    episodes = type("Toy", (), {"episodes": (EPISODE,), "shots": (1,)})
    (result,) = evaluate_episodes(
        episodes, POOLS, dict.fromkeys(("s", "q1", "q2"), nothing), FewShotRule(), methods=["repmet"]
    )
    metrics = result.metric.compute()
    assert metrics["recall"] == 0 and metrics["pooled_ap"] == 0 and metrics["counts"]["n_detections"] == 0


def test_every_image_of_the_episodes_is_used_once(toy):
    episodes, pools, _ = toy
    used = [r.id for r in pools.used_by(episodes)]
    wanted = set()
    for e in episodes.episodes:
        wanted |= {image for boxes in e.support.values() for image, _ in boxes} | {i for q in e.query.values() for i in q}
    assert len(used) == len(set(used)) and set(used) == wanted
    assert len(used) < len(pools.support) + len(pools.query)
    one_pool = Pools.of(list(POOLS.support.values()), [*POOLS.support.values(), *POOLS.query.values()])
    both = Episode(("ant",), {"ant": (("s", 1),)}, {"ant": ("s", "q1")})
    assert [r.id for r in one_pool.used_by(type("Toy", (), {"episodes": (both,)}))] == ["s", "q1"]


def test_classes_are_numbered_in_alphabetical_order(toy):
    episodes, *_ = toy
    numbers = class_numbers(episodes)
    there = sorted({name for e in episodes.episodes for name in e.classes})
    assert list(numbers) == there and list(numbers.values()) == list(range(len(there)))
