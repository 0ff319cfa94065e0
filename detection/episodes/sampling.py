"""Episodes of few-shot detection: which classes, which support boxes, which query images; drawn by seed, kept as JSON.

Protocol: RepMet (Karlinsky et al., CVPR 2019), its released benchmark. An episode has N classes drawn without replacement;
each gets support boxes (image by image in random order, every box of the class in it) and query images that hold it. A query
image may serve two classes; none gives the episode a support, also not of another class, for what was shown is nothing to be
found. The K-shot support is the first K boxes, so that several shots are compared on the same classes and queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repmet.data.sources.voc import ImageRecord
from repmet.detection.episodes.episode import Episode, Episodes, digest, listed, load_episodes, plain_boxes, save_episodes
from repmet.errors import UserError

ATTEMPTS = 200  # to draw one episode

__all__ = ["Episode", "Episodes", "load_episodes", "sample_episodes", "save_episodes"]


def sample_episodes(
    support: Sequence[ImageRecord],
    query: Sequence[ImageRecord],
    *,
    way: int,
    shots: Sequence[int],
    query_images: int,
    episodes: int,
    seed: int,
    classes: Sequence[str],
    names: Mapping[str, Sequence[str]] | None = None,
) -> Episodes:
    """Draws episodes; the first n do not depend on how many are drawn, nor any on the order of records and classes.

    Args:
        support, query: the two pools of images, which may be the same or overlap.
        way: N, classes of an episode.
        shots: numbers of support boxes of a class, each at least 1.
        query_images: query images of a class and episode.
        seed: any whole number from 0; equal on all platforms and versions of numpy.
        classes: from which episodes are drawn, say the novel ones.
        names: by `support` and `query`, the names of the image sets, for the record.

    Raises:
        ValueError: a number is out of range, an image is listed twice, or classes are too few or have too few support
            boxes or query images; the last names each class with its counts.
    """
    shots = tuple(sorted(set(shots)))
    if way < 1 or not shots or shots[0] < 1 or query_images < 1 or episodes < 1 or seed < 0:
        raise UserError(
            f"way {way}, shots {shots}, query {query_images} and episodes {episodes} are at least 1, seed {seed} at least 0"
        )
    if len(set(classes)) != len(classes) or len(classes) < way:
        raise UserError(f"{way}-way episodes need {way} different classes, got {len(classes)}: {', '.join(classes)}")
    pools = {"support": _by_id(support, "support"), "query": _by_id(query, "query")}
    boxes, holders = {}, {}
    for name in sorted(classes):
        boxes[name] = {i: plain for i, r in pools["support"].items() if (plain := plain_boxes(r, name))}
        holders[name] = [i for i, r in pools["query"].items() if plain_boxes(r, name)]
    _check_supply(boxes, holders, shots[-1], query_images)
    drawn = tuple(_filled(seed, number, boxes, holders, way, shots[-1], query_images) for number in range(episodes))
    identity = {
        role: {"names": list((names or {}).get(role, ())), "images": len(pool), "digest": digest(list(pool))}
        for role, pool in pools.items()
    }
    return Episodes(way, shots, query_images, seed, identity, drawn)


def _filled(seed: int, number: int, *draw: Any) -> Episode:
    """An episode whose classes all have their queries. Where the pools share images, the supports of one class may take
    those of another: then it is drawn again.

    Raises:
        ValueError: no draw of many fills it; it names a class that is left short.
    """
    query_images = draw[-1]
    for attempt in range(ATTEMPTS):
        episode = _draw([seed, number] if attempt == 0 else [seed, number, attempt], *draw)
        short = [name for name, images in episode.query.items() if len(images) < query_images]
        if not short:
            return episode
    raise UserError(
        f"episode {number} cannot be filled: the supports of its classes take all but {len(episode.query[short[0]])} of the "
        f"images of {short[0]}, and {query_images} queries are asked for; ask for fewer, or give more images"
    )


def _draw(
    stream: Sequence[int],
    boxes: Mapping[str, Mapping[str, list[int]]],
    holders: Mapping[str, list[str]],
    way: int,
    shot: int,
    query_images: int,
) -> Episode:
    # The raw stream of PCG64 is fixed for ever, which the distributions of a numpy Generator are not.
    bits = np.random.PCG64(list(stream))
    classes = tuple(_shuffled(bits, list(boxes))[:way])
    support, query, candidates = {}, {}, {}
    for name in classes:
        chosen: list[tuple[str, int]] = []
        for image in _shuffled(bits, list(boxes[name])):
            if len(chosen) < shot:
                chosen += [(image, box) for box in boxes[name][image]]
        support[name] = tuple(chosen[:shot])
        candidates[name] = _shuffled(bits, holders[name])
    shown = {image for chosen in support.values() for image, _ in chosen}
    for name in classes:
        query[name] = tuple([image for image in candidates[name] if image not in shown][:query_images])
    return Episode(classes, support, query)


def _shuffled(bits: np.random.PCG64, items: list[str]) -> list[str]:
    return [items[k] for k in np.argsort(bits.random_raw(len(items)), kind="stable")]


def _check_supply(
    boxes: Mapping[str, Mapping[str, list[int]]], holders: Mapping[str, list[str]], shot: int, query_images: int
) -> None:
    """Every class must fill any episode, also where the supports come from the most images that they may take."""
    problems = []
    for name, images in boxes.items():
        counts = np.cumsum(sorted(map(len, images.values())))
        supply = int(counts[-1]) if len(counts) else 0
        most_images = int(np.searchsorted(counts, shot)) + 1
        shared = min(most_images, len(images.keys() & set(holders[name])))
        if supply < shot or len(holders[name]) - shared < query_images:
            kept = f", of which supports may take {shared}" if shared else ""
            problems.append(
                f"{name}: {supply} support boxes in {len(images)} images, {len(holders[name])} query images{kept}"
            )
    if problems:
        raise UserError(
            f"{len(problems)} of {len(boxes)} classes cannot fill an episode of {shot} support boxes and {query_images} "
            "query images a class (difficult boxes do not count). Ask for fewer, give more images, or leave the classes "
            "out.\n" + listed(problems)
        )


def _by_id(records: Sequence[ImageRecord], role: str) -> dict[str, ImageRecord]:
    by_id = {record.id: record for record in sorted(records, key=lambda record: record.id)}
    if len(by_id) < len(records):
        seen: set[str] = set()
        twice = [r.id for r in records if r.id in seen or seen.add(r.id)]
        raise UserError(f"{len(twice)} of the {role} images are listed twice, the first is {twice[0]!r}")
    return by_id
