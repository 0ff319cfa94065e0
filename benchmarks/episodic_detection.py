"""Episodes of detection as the published protocol runs them, against images that are embedded once and figures that add up.

    python -m benchmarks.episodic_detection [--episodes 500] [--peer-episodes N] [--detections 38000000] [--out FILE]

The published way sends every support and query of every episode through the network, one by one, and computes the average
precision over the growing list after each episode. It is too slow to be run: the network's part is measured on
`--peer-episodes` episodes, the figures' part on lists of a few lengths, with our own code, and both are extrapolated. Ours
is run in full. Episodes are 5-way 1-shot with 10 queries a class on generated scenes; the detector is the demo's with
weights from a seed, for training changes no shape. It is checked that both ways find the same, bit for bit where the network
sees the same batches. The second case is the figures alone, over as many synthetic detections as the published benchmark
has.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope
from torch import nn

import repmet.detection.modules  # noqa: F401  (registers the models, before anything of mmdet that looks kernels up)
from repmet.benchmarks.measure import Comparison, environment, format_table, write_json
from repmet.benchmarks.memory import peak_memory
from repmet.data.generated.glyph_scenes import lay_out
from repmet.data.sources.voc import read_image_set
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.sampling import Episodes, sample_episodes
from repmet.detection.experiment import prepare
from repmet.detection.metrics import EpisodicMetric
from repmet.detection.protocols.episodic import Pools, class_numbers, detection_rows, evaluate_episodes, ground_truth
from repmet.detection.scoring.methods import Method
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule, few_shot_rule
from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running.allocator import keep_freed_memory

from mmdet.registry import MODELS  # isort: skip

DEMO = Path(__file__).parents[1] / "experiments" / "detection" / "demo.yaml"
METHOD = "repmet"
WAY, SHOT, QUERY, NOVEL = 5, 1, 10, 40
TARGET = 20
SECONDS, MEMORY = 60, 4.0  # aims for the figures of 38 million detections, in GB
LENGTHS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of the growing list, as shares of the whole one, at which it is timed
PEER = "network on every query, figures after every episode (extrapolated)"

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # detections, ground truth, slots of one episode


class Published:
    """The published way: every image of every episode through the network on its own."""

    def __init__(self, model: nn.Module, pipeline: list, pools: Pools, rule: FewShotRule, episodes: Episodes) -> None:
        self.embed = Embedder(model, pipeline, batch_size=1, spaces=(METHOD,))
        self.pools, self.rule, self.episodes = pools, rule, episodes

    def rows(self, number: int) -> Rows:
        episode = self.episodes.episodes[number]
        embedded = {}
        supports = [self.pools.support[i] for boxes in episode.support.values() for i, _ in boxes[:SHOT]]
        for record in supports + [self.pools.query[image] for _, image in episode.slots]:
            embedded |= self.embed([record])
        return episode_rows(number, self.episodes, self.pools, embedded, self.rule)


def episode_rows(number: int, episodes: Episodes, pools: Pools, embedded: dict, rule: FewShotRule) -> Rows:
    """What an episode adds to the list."""
    episode, ids = episodes.episodes[number], class_numbers(episodes)
    supports = SupportSet.of(episode, SHOT, pools.support, embedded)
    detections = Method(METHOD, rule).detect(supports, [embedded[image] for _, image in episode.slots])
    slots = np.array([[number, slot] for slot in range(len(episode.slots))])
    return detection_rows(number, episode, detections, ids), ground_truth(number, episode, pools, ids), slots


def scenes_detector(folder: Path, images: int, seed: int = 0) -> tuple[nn.Module, list, FewShotRule, Pools]:
    """The demo's detector with weights from a seed, its test pipeline and rule, and generated scenes of novel classes."""
    counts = {"train": 8, "val": 4, "novel_support": images, "novel_query": images}
    root = lay_out(folder / "scenes", base_classes=8, novel_classes=NOVEL, counts=counts)
    cfg = load_experiment(DEMO, ["data.glyph_scenes=null"], {"data.root": str(root)})
    prepare(cfg)
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model).eval()
    pools = Pools.of(read_image_set(root, "novel_support"), read_image_set(root, "novel_query"))
    return model, cfg.test_pipeline, few_shot_rule(cfg), pools


def figures_of(parts: Sequence[Rows]) -> dict:
    """The figures over a list of episodes, from nothing, and without intervals, which the published way has none of."""
    metric = EpisodicMetric()
    for detections, truth, slots in parts:
        metric.add(detections, truth, slots=slots)
    return metric.compute(intervals=False)


def growing_list_seconds(parts: Sequence[Rows]) -> float:
    """Seconds to compute the figures after each of these episodes anew: timed at a few lengths, interpolated between."""
    lengths = sorted({max(1, round(share * len(parts))) for share in LENGTHS})
    taken = [seconds(lambda n=n: figures_of(parts[:n])) for n in lengths]
    return float(np.interp(np.arange(1, len(parts) + 1), [0, *lengths], [0.0, *taken]).sum())


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def check_equal(
    model: nn.Module, pipeline: list, pools: Pools, rule: FewShotRule, episodes: Episodes, peer: Sequence[Rows]
) -> float:
    """Raises AssertionError unless images embedded once give what `peer`, the first episodes the published way, gave.

    Returns:
        By how much the figures differ when the network sees eight images at once.
    """
    images = pools.used_by(replace(episodes, episodes=episodes.episodes[: len(peer)]))
    for batch_size in (1, 8):
        embedded = Embedder(model, pipeline, batch_size=batch_size, spaces=(METHOD,))(images)
        mine = [episode_rows(n, episodes, pools, embedded, rule) for n in range(len(peer))]
        equal = all(map(np.array_equal, chain(*mine), chain(*peer)))
        if batch_size == 1 and not equal:
            raise AssertionError("images embedded once give other detections than images embedded for every episode")
    ours, theirs = figures_of(mine), figures_of(peer)
    return max(abs(ours[name] - theirs[name]) for name in ("repmet_pooled", "pooled_ap", "class_map", "episode_map"))


def episodes_case(folder: Path, number: int, peer_number: int, images: int) -> Comparison:
    """All episodes our way, some of them the published way."""
    model, pipeline, rule, pools = scenes_detector(folder, images)
    classes = sorted({name for r in pools.query.values() for name in r.names})
    drawn = sample_episodes(
        list(pools.support.values()),
        list(pools.query.values()),
        way=WAY,
        shots=[SHOT],
        query_images=QUERY,
        episodes=number,
        seed=0,
        classes=classes,
    )

    def ours() -> None:
        embedded = Embedder(model, pipeline, spaces=(METHOD,))(pools.used_by(drawn))
        for result in evaluate_episodes(drawn, pools, embedded, rule, methods=(METHOD,)):
            result.metric.compute()

    published = Published(model, pipeline, pools, rule, drawn)
    published.rows(0)  # warms up
    mine = [seconds(ours)]
    peer, network = [], []
    for n in range(peer_number):
        network.append(seconds(lambda n=n: peer.append(published.rows(n))))
    mine.append(seconds(ours))
    off = check_equal(model, pipeline, pools, rule, drawn, peer)
    print(f"both ways find the same, bit for bit; in batches of eight the figures differ by {off:.1e}", flush=True)
    embedded = Embedder(model, pipeline, spaces=(METHOD,))(pools.used_by(drawn))
    figures = growing_list_seconds([episode_rows(n, drawn, pools, embedded, rule) for n in range(number)])
    our_seconds = statistics.median(mine)
    totals = [number * each + figures for each in network]
    low, _, high = statistics.quantiles([total / our_seconds for total in totals], n=4)
    case = f"{number} episodes of {WAY * QUERY} queries, {WAY}-way {SHOT}-shot, {len(pools.used_by(drawn))} images"
    their_seconds = statistics.median(totals)
    print(
        f"ours {our_seconds:.0f} s; published: {number * statistics.median(network):.0f} s of network "
        f"({peer_number} episodes measured) and {figures:.0f} s of figures"
    )
    return Comparison(case, our_seconds * 1e3, PEER, their_seconds * 1e3, their_seconds / our_seconds, high - low)


def synthetic_episodes(number: int, per_episode: int, seed: int = 0) -> Iterator[Rows]:
    """Detections at random places, of which some are near a box; a box in each of 50 slots."""
    rng = np.random.default_rng(seed)
    slots = WAY * QUERY
    for episode in range(number):
        classes = rng.choice(NOVEL, WAY, replace=False)
        corner = rng.uniform(0, 150, (slots, 2))
        truth = np.column_stack([np.full(slots, episode), np.arange(slots), classes.repeat(QUERY), corner, corner + 40])
        image = rng.integers(0, slots, per_episode)
        near = rng.random(per_episode) < 0.05
        place = np.where(
            near[:, None], corner[image] + rng.normal(0, 5, (per_episode, 2)), rng.uniform(0, 150, (per_episode, 2))
        )
        score = rng.random(per_episode) ** 4
        detections = np.column_stack(
            [np.full(per_episode, episode), image, rng.choice(classes, per_episode), score, place, place + 40]
        )
        yield detections, truth, np.column_stack([np.full(slots, episode), np.arange(slots)])


def figures_case(number: int, total: int) -> Comparison:
    """The figures of very many detections, once over all; the growing list is extrapolated from the first episodes."""
    metric, spent = EpisodicMetric(), 0.0
    first: list[Rows] = []
    for rows in synthetic_episodes(number, total // number):
        spent += seconds(lambda r=rows: metric.add(r[0], r[1], slots=r[2]))
        if len(first) < 8:
            first.append(rows)
    spent += seconds(metric.compute)
    each = seconds(lambda: figures_of(first)) / len(first)
    peer = each * number * (number + 1) / 2  # as long as the time grows with the list, no quicker
    case = f"figures of {total:,} detections, {number} episodes"
    return Comparison(case, spent * 1e3, "figures after every episode (extrapolated)", peer * 1e3, peer / spent, 0.0)


def main(argv: list[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--peer-episodes", type=int, default=6, help="of them the published way, at least 2")
    parser.add_argument("--images", type=int, default=800, help="in the support pool, and as many in the query pool")
    parser.add_argument("--detections", type=int, default=38_000_000, help="of the second case; 0 leaves it out")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", metavar="FILE.json", help="also write the figures there")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    env, results = environment(), []
    if args.detections:  # first: its memory is that of the process
        results.append(figures_case(args.episodes, args.detections))
        env["figures_peak_memory_gb"] = round(peak_memory() * 2**20 / 1e9, 2)
        print(
            f"figures: {results[0].ours_ms / 1e3:.0f} s and {env['figures_peak_memory_gb']} GB; the aims at 38 million are "
            f"{SECONDS} s and {MEMORY} GB",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        results.insert(0, episodes_case(Path(folder), args.episodes, args.peer_episodes, args.images))
    print(f"{results[0].ratio:.0f}x, {TARGET}x is the aim\n\n{format_table(results)}")
    if args.out:
        write_json(args.out, env, results)
    return results


if __name__ == "__main__":
    main()
