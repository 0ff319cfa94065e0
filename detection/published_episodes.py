"""Reads the episode files that RepMet's authors published: pickles of plain lists, dicts and numbers, and nothing else.

A pickle can run any code. This one is read by an unpickler that knows numpy's arrays and numbers alone.
"""

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.voc import ImageRecord
from detection.episode_list import Episode, Episodes, digest, listed, plain_boxes

_NUMPY = {
    ("numpy", "dtype"), ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"), ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"), ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}  # fmt: skip
_NEAR = 0.5  # IoU from which a published support box is one of ours: releases of the annotations differ by pixels


class PlainUnpickler(pickle.Unpickler):
    """Lists, dicts, text, numbers and numpy arrays; anything else is refused before it is made."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NUMPY:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is neither a number nor an array")


def plain_pickle(path: str | Path) -> Any:
    """What a pickle of plain values holds; text that Python 2 wrote is read as latin-1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or holds anything that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of episodes")
    try:
        return PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not read: {error}") from None


def read_published(path: str | Path, support: Sequence[ImageRecord], query: Sequence[ImageRecord]) -> Episodes:
    """The episodes of `epi_inloc_in_domain_1_5_10_500.pkl` and its like, on our records.

    Each is a dict with `epi_cats` (class numbers), `epi_cats_names`, `train_boxes` (rows of class number, class name, image
    path, box x1 y1 x2 y2) and `query_images` (paths by class number, or one list by class in the order of `epi_cats`).
    Images are known by the name of their file, support boxes by the annotated box of the class that they overlap most.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such file, or names images and boxes that the records do not have (another data set).
    """
    content = plain_pickle(path)
    pools = {"support": {r.path.stem: r for r in support}, "query": {r.path.stem: r for r in query}}
    problems: list[str] = []
    try:
        entries = [_episode(number, entry, pools, problems) for number, entry in enumerate(content)]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"{path}: not a published file of episodes ({type(error).__name__}: {error})") from None
    if problems:
        raise ValueError(f"{path}: the episodes are of another data set, {len(problems)} problems\n" + listed(problems))
    if not entries:
        raise ValueError(f"{path}: it holds no episode")
    way, shots, queries = (
        {len(e.classes) for e in entries},
        min(len(boxes) for e in entries for boxes in e.support.values()),
        {len(images) for e in entries for images in e.query.values()},
    )
    if len(way) != 1 or len(queries) != 1:
        raise ValueError(f"{path}: episodes of {sorted(way)} classes and {sorted(queries)} query images a class in one file")
    identity = {
        role: {"names": [], "images": len(pool), "digest": digest(sorted(r.id for r in pool.values()))}
        for role, pool in pools.items()
    }
    return Episodes(
        way.pop(), tuple(k for k in (1, 5, 10) if k <= shots) or (shots,), queries.pop(), 0, identity, tuple(entries)
    )


def _episode(number: int, entry: Mapping, pools: Mapping, problems: list[str]) -> Episode:
    numbers = [int(c) for c in entry["epi_cats"]]
    names = dict(zip(numbers, map(str, entry["epi_cats_names"]), strict=True))
    support: dict[str, list[tuple[str, int]]] = {name: [] for name in names.values()}
    for category, _, path, box in entry["train_boxes"]:
        name, record = names[int(category)], pools["support"].get(Path(str(path)).stem)
        boxes = plain_boxes(record, name) if record is not None else []
        overlaps = [_iou(record.boxes[k], np.asarray(box, float).ravel()) for k in boxes]
        if not overlaps or max(overlaps) < _NEAR:
            problems.append(f"episode {number}: no {name} box at {list(map(int, box))} of {path}")
            continue
        chosen = (record.id, boxes[int(np.argmax(overlaps))])
        support[name] += [chosen] if chosen not in support[name] else []
    query = {}
    given = entry["query_images"]
    for place, (category, name) in enumerate(names.items()):
        paths = given[category] if isinstance(given, Mapping) else given[place]
        records = [(str(p), pools["query"].get(Path(str(p)).stem)) for p in paths]
        problems += [f"episode {number}: the query images have no {p}" for p, record in records if record is None]
        query[name] = tuple(record.id for _, record in records if record is not None)
    return Episode(tuple(names.values()), {name: tuple(boxes) for name, boxes in support.items()}, query)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if min(width, height) <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (areas - width * height))
