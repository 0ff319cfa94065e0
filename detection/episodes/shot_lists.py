"""K-shot lists of few-shot VOC and COCO: which K boxes of every novel class a detector is shown, by seed or as published.

Protocols: Kang et al., "Few-shot object detection via feature reweighting", ICCV 2019 (one list), and Wang et al.,
"Frustratingly simple few-shot object detection", ICML 2020 (TFA: many lists by seed, because one flatters or harms by many
points).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repmet.data.files.text import lines_of, read_text
from repmet.data.sources.voc import ImageRecord
from repmet.detection.episodes.episode import listed, plain_boxes
from repmet.errors import UserError

_RELEASE = re.compile(r"COCO_(train|val)20\d\d_")  # COCO 2014 names its files so, and COCO 2017 the same images without
_NEAR = 1.5  # pixels, between a published box and ours: VOC counts from 1, and lists round


@dataclass(frozen=True)
class KShotList:
    """For one seed, by class, support boxes as (image id, index among its boxes); the first K are the K-shot list."""

    seed: int
    support: Mapping[str, tuple[tuple[str, int], ...]]


def draw_lists(records: Sequence[ImageRecord], classes: Sequence[str], shot: int, seeds: Sequence[int]) -> list[KShotList]:
    """Draws a list for every seed: boxes of a class image by image in random order, at most `shot`.

    A class's boxes depend on the seed and on its own images alone, not on the other classes nor on the order of records;
    those of fewer shots are the first of those of more.

    Raises:
        ValueError: a class has too few boxes that are not difficult; each is named with its count.
    """
    by_id = {r.id: r for r in sorted(records, key=lambda r: r.id)}
    boxes = {name: {i: plain for i, r in by_id.items() if (plain := plain_boxes(r, name))} for name in classes}
    short = {name: sum(map(len, images.values())) for name, images in boxes.items()}
    if problems := [f"{name}: {count} boxes" for name, count in short.items() if count < shot]:
        raise UserError(f"{len(problems)} of {len(boxes)} classes have fewer than {shot} boxes to show\n" + listed(problems))
    return [KShotList(seed, {name: draw_boxes(boxes[name], name, shot, seed) for name in classes}) for seed in seeds]


def read_lists(folder: str | Path, records: Sequence[ImageRecord], classes: Sequence[str], shot: int) -> list[KShotList]:
    """Reads published lists: `box_{K}shot_{class}_train.txt` (VOC) or `full_box_{K}shot_{class}_trainval.json` (COCO).

    Args:
        folder: holds the files of one list, or a folder `seed0`, `seed1`, ... for each.
        records: the images that they may name.
        shot: K; the files of this number are read.

    Raises:
        FileNotFoundError: no such files; the message names the first that is missing.
        ValueError: a file names an image or box that is not there, or another number of boxes than K.
    """
    folder = Path(folder)
    seeds = {int(m[1]): p for p in sorted(folder.glob("seed*")) if p.is_dir() and (m := re.fullmatch(r"seed(\d+)", p.name))}
    by_id = {r.id: r for r in records}
    by_name = {_RELEASE.sub("", r.path.name): r for r in records}
    lists = []
    for seed, place in sorted(seeds.items() if seeds else [(0, folder)]):
        support = {}
        for name in classes:
            text, coco = place / f"box_{shot}shot_{name}_train.txt", place / f"full_box_{shot}shot_{name}_trainval.json"
            if text.is_file():
                support[name] = _voc_file(text, by_id, name, shot)
            elif coco.is_file():
                support[name] = _coco_file(coco, by_name, name)
            else:
                raise FileNotFoundError(f"{text}: no such list, nor {coco.name} beside it")
            if len(support[name]) != shot:
                raise UserError(f"{place}: {len(support[name])} boxes of {name} in the {shot}-shot list")
        lists.append(KShotList(seed, support))
    return lists


def draw_boxes(images: Mapping[str, list[int]], name: str, shot: int, seed: int) -> tuple[tuple[str, int], ...]:
    """At most `shot` boxes of class `name`, image by image in an order that the seed and the name give.

    Args:
        images: by image id, the indices of its boxes of the class.
    """
    # The raw stream of PCG64 is fixed for ever, which the distributions of a numpy Generator are not.
    bits = np.random.PCG64([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")])
    ids = list(images)
    order = np.argsort(bits.random_raw(len(ids)), kind="stable")
    return tuple([(ids[k], box) for k in order for box in images[ids[k]]][:shot])


def _voc_file(path: Path, by_id: Mapping[str, ImageRecord], name: str, shot: int) -> tuple[tuple[str, int], ...]:
    shots: list[tuple[str, int]] = []
    for line in lines_of(path):
        record = by_id.get(Path(line).stem)
        boxes = plain_boxes(record, name) if record is not None else []
        if not boxes:
            what = "is not among the support images" if record is None else f"holds no plain {name} box"
            raise UserError(f"{path}: {line} {what}; give the data set that the lists were made for")
        shots += [(record.id, box) for box in boxes]
    return tuple(shots[:shot])


def _coco_file(path: Path, by_name: Mapping[str, ImageRecord], name: str) -> tuple[tuple[str, int], ...]:
    try:
        content = json.loads(read_text(path))
        files = {image["id"]: _RELEASE.sub("", Path(image["file_name"]).name) for image in content["images"]}
        wanted = [(files[a["image_id"]], [float(side) for side in a["bbox"]]) for a in content["annotations"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a COCO file: {error}") from None
    shots = []
    for file, (x, y, width, height) in wanted:
        record = by_name.get(file)
        boxes = [k for k, n in enumerate(record.names) if n == name] if record is not None else []
        gaps = [float(np.abs(record.boxes[k] - (x, y, x + width, y + height)).max()) for k in boxes]
        if not gaps or min(gaps) > _NEAR:
            raise UserError(f"{path}: {file} has no {name} box at {[x, y, width, height]} among the support images")
        shots.append((record.id, boxes[int(np.argmin(gaps))]))
    return tuple(shots)
