"""Reads the episode files that RepMet's authors published: pickles of plain lists, dicts and numbers, and nothing else.

A pickle can run any code. This one is read by an unpickler that knows numpy's arrays and numbers alone.
"""

import io
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repmet.data.sources.voc import ImageRecord
from repmet.detection.episodes.episode import Episode, Episodes, digest, listed, plain_boxes
from repmet.errors import UserError

_NUMPY = {
    ("numpy", "dtype"), ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"), ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"), ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}  # fmt: skip
ROIDB = "voc_inloc_roidb.pkl"
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
        raise UserError(f"{path}: not read: {error}") from None


def read_published(path: str | Path, support: Sequence[ImageRecord], query: Sequence[ImageRecord]) -> Episodes:
    """The episodes of `epi_inloc_in_domain_1_5_10_500.pkl` and its like, on our records.

    Each is a dict with `epi_cats` (class numbers), `epi_cats_names`, `train_boxes` (rows of class number, class name, image
    path, box x1 y1 x2 y2) and `query_images` (paths by class number, or one list by class in the order of `epi_cats`, or
    one list of all, where an image is a query of the class that it holds). The benchmark's own files
    (`RepMet_inloc_1shot_5way_10qpc_500epi_episodes.npz`, pickles too) give numbers of images in their place, `train_nImg`
    and `query_images` by class number; the images that these mean are read from `voc_inloc_roidb.pkl`, which was published
    with them and lies beside.

    Images are known by the name of their file. A class is the label of the annotated boxes that its support boxes overlap
    most, for the files speak of a `king snake, kingsnake` and the annotations of `n01734418`.

    Raises:
        FileNotFoundError: no such file, or none of the images that it numbers.
        ValueError: it is no such file, or names images and boxes that the records do not have (another data set).
    """
    content = plain_pickle(path)
    pools = {"support": {r.path.stem: r for r in support}, "query": {r.path.stem: r for r in query}}
    problems: list[str] = []
    try:
        if any("train_boxes" not in entry and "train_nImg" in entry for entry in content):
            roidb = plain_pickle(Path(path).parent / ROIDB)["roidb"]
            content = [_spelled_out(entry, roidb) for entry in content]
        entries = [_episode(number, entry, pools, problems) for number, entry in enumerate(content)]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UserError(f"{path}: not a published file of episodes ({type(error).__name__}: {error})") from None
    if problems:
        raise UserError(f"{path}: the episodes are of another data set, {len(problems)} problems\n" + listed(problems))
    if not entries:
        raise UserError(f"{path}: it holds no episode")
    way = {len(e.classes) for e in entries}
    shots = min(len(boxes) for e in entries for boxes in e.support.values())
    queries = max(len(images) for e in entries for images in e.query.values())
    if len(way) != 1:
        raise UserError(f"{path}: episodes of {sorted(way)} classes in one file")
    identity = {
        role: {"names": [], "images": len(pool), "digest": digest(sorted(r.id for r in pool.values()))}
        for role, pool in pools.items()
    }
    shown = tuple(k for k in (1, 5, 10) if k <= shots) or (shots,)
    return Episodes(way.pop(), shown, queries, 0, identity, tuple(entries))


def _spelled_out(entry: Mapping, roidb: Sequence[Mapping]) -> dict:
    """An episode that numbers its images, with their paths and boxes in the place of the numbers."""
    boxes = [
        [category, "", roidb[image]["image"], box]
        for category, images in entry["train_nImg"].items()
        for image in images
        for box, label in zip(roidb[image]["boxes"], roidb[image]["gt_classes"], strict=True)
        if label == category
    ]
    query = {category: [roidb[image]["image"] for image in images] for category, images in entry["query_images"].items()}
    names = entry.get("epi_cats_names") or ["" for _ in entry["epi_cats"]]
    return {"epi_cats": entry["epi_cats"], "epi_cats_names": names, "train_boxes": boxes, "query_images": query}


def _episode(number: int, entry: Mapping, pools: Mapping, problems: list[str]) -> Episode:
    numbers = [int(c) for c in entry["epi_cats"]]
    stated = dict(zip(numbers, map(str, entry["epi_cats_names"]), strict=True))
    names = _labels(stated, entry["train_boxes"], pools["support"])
    support: dict[str, list[tuple[str, int]]] = {name: [] for name in names.values()}
    if len(support) < len(numbers):
        raise UserError(f"episode {number}: two of its classes have one label, {', '.join(sorted(names.values()))}")
    for category, _, path, box in entry["train_boxes"]:
        name, record = names[int(category)], _found(path, pools["support"])
        best = _overlapped(record, plain_boxes(record, name), box) if record is not None else None
        if best is None:
            problems.append(f"episode {number}: no {name} box at {np.asarray(box, int).ravel().tolist()} of {path}")
        elif (record.id, best) not in support[name]:
            support[name].append((record.id, best))
    query = _queries(number, names, entry["query_images"], pools["query"], problems)
    return Episode(tuple(names.values()), {name: tuple(boxes) for name, boxes in support.items()}, query)


def _labels(stated: Mapping[int, str], rows: Sequence, pool: Mapping[str, ImageRecord]) -> dict[int, str]:
    """By class number, the label of most of the annotated boxes under its support boxes; where there is none, its name."""
    votes: dict[int, Counter] = {category: Counter() for category in stated}
    for category, _, path, box in rows:
        record = _found(path, pool)
        best = _overlapped(record, range(len(record.boxes)), box) if record is not None else None
        if best is not None:
            votes[int(category)][record.names[best]] += 1
    return {c: votes[c].most_common(1)[0][0] if votes[c] else name or f"class {c}" for c, name in stated.items()}


def _queries(
    number: int, names: Mapping[int, str], query_images: Any, pool: Mapping[str, ImageRecord], problems: list[str]
) -> dict[str, tuple[str, ...]]:
    """By class, the ids of its query images."""
    flat = not isinstance(query_images, Mapping) and all(isinstance(path, str) for path in query_images)
    query: dict[str, list[str]] = {name: [] for name in names.values()}
    for place, (category, name) in enumerate(names.items()):
        for path in () if flat else query_images[category] if isinstance(query_images, Mapping) else query_images[place]:
            record = _found(path, pool)
            if record is None:
                problems.append(f"episode {number}: the query images have no {path}")
            else:
                query[name].append(record.id)
    for path in query_images if flat else ():
        record = _found(path, pool)
        held = [name for name in query if record is not None and plain_boxes(record, name)]
        if held:  # of two classes, that with fewer images
            query[min(held, key=lambda name: len(query[name]))].append(record.id)
        else:
            what = "the query images have no" if record is None else "no box of its classes in the query image"
            problems.append(f"episode {number}: {what} {path}")
    return {name: tuple(images) for name, images in query.items()}


def _found(path: Any, pool: Mapping[str, ImageRecord]) -> ImageRecord | None:
    return pool.get(Path(str(path)).stem)


def _overlapped(record: ImageRecord, boxes: Sequence[int], box: Any) -> int | None:
    """Of some boxes of an image, the one that overlaps `box` most, if any does by `_NEAR`."""
    overlaps = {k: _iou(record.boxes[k], np.asarray(box, float).ravel()) for k in boxes}
    best = max(overlaps, key=overlaps.__getitem__, default=None)
    return best if best is not None and overlaps[best] >= _NEAR else None


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if min(width, height) <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (areas - width * height))
