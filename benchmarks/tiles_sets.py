"""The three sets that tiles are measured on, two of them made here of other sets' images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from repmet.data.readers.annotated_folder import read_images
from repmet.data.sources.voc import ImageRecord
from repmet.detection.episodes.episode import plain_boxes
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.protocols.own_data import read_own_data

GROUND = 2048  # pixels, side of the grounds of `fod`
OBJECTS = 8  # pasted into each
REDUCED, ACROSS = 6, 12  # of `aerial`: photographs are reduced so much, and so many lie beside each other
AERIAL = ("person", "car", "dog", "cat", "bus", "train", "bicycle", "airplane")


@dataclass(frozen=True, eq=False)
class TiledSet:
    """Marks of the classes, and images to be searched with the boxes in them that are to be found."""

    name: str
    classes: tuple[str, ...]
    support: dict[str, list[tuple[Any, Any]]]
    queries: Sequence[OpenImage]


def deeppcb(root: Path, images: int, marks: int) -> TiledSet:
    """Marks of its train list, images evenly from its test list."""
    data = read_own_data(root / "own" / "deeppcb")
    boxes = data.marks(marks, 0)
    queries = data.queries(boxes)
    chosen = np.unique(np.linspace(0, len(queries) - 1, images).round().astype(int))
    support = {
        name: [(data.records[i].path, data.records[i].boxes[b]) for i, b in pairs]
        for name, pairs in zip(data.classes, boxes, strict=True)
    }
    return TiledSet("deeppcb", data.classes, support, [OpenImage.read(queries[k]) for k in chosen])


def aerial(root: Path, images: int, marks: int) -> TiledSet:
    """Mosaics of reduced photographs; two more of them are marked."""
    records = read_images(root / "coco609")
    generator = np.random.default_rng(0)
    mosaics = [_mosaic(records, generator, number) for number in range(max(images // 4, 3) + 2)]
    return _marked("aerial", AERIAL, mosaics[:2], mosaics[2:], marks)


def fod(root: Path, images: int, marks: int) -> TiledSet:
    """Objects of the novel classes on tarmac: those of the train list are marked, those of the test list searched."""
    names = tuple((root / "FOD-A" / "classes_novel.txt").read_text().split())[:5]
    generator = np.random.default_rng(0)
    grounds = {}
    for part, count in (("train", 2 * marks), ("test", max(images // 2, 1))):
        records = [r for r in read_images(root / "FOD-A", part) if set(r.names) & set(names)]
        grounds[part] = [_ground(records, names, generator, f"{part} {number}") for number in range(count)]
    return _marked("fod", names, grounds["train"], grounds["test"], marks)


def _mosaic(records: Sequence[ImageRecord], generator: np.random.Generator, number: int) -> OpenImage:
    cell = 400 // REDUCED
    canvas = Image.new("RGB", (cell * ACROSS, cell * ACROSS))
    names, boxes = [], []
    for place, k in enumerate(generator.choice(len(records), ACROSS * ACROSS, replace=False)):
        record = records[k]
        x, y = cell * (place % ACROSS), cell * (place // ACROSS)
        scale = cell / min(record.width, record.height)
        size = round(record.width * scale), round(record.height * scale)
        picture = Image.fromarray(OpenImage.read(record).pixels).resize(size, Image.Resampling.LANCZOS)
        canvas.paste(picture.crop((0, 0, cell, cell)), (x, y))
        for name in set(record.names) & set(AERIAL):
            for b in plain_boxes(record, name):
                full = record.boxes[b] * scale
                box = full.clip(0, cell)
                inside = (box[2:] - box[:2]).prod() / max((full[2:] - full[:2]).prod(), 1e-6)
                if inside > 0.6 and (box[2:] - box[:2]).min() >= 3:
                    names.append(name)
                    boxes.append(box + np.tile((x, y), 2))
    return OpenImage.of(f"mosaic {number}", canvas, names, boxes)


def _ground(records: Sequence[ImageRecord], names: Sequence[str], generator: np.random.Generator, name: str) -> OpenImage:
    """Tarmac of one image, mirrored on and on, with objects of others."""
    record = records[generator.integers(len(records))]
    pixels, box = OpenImage.read(record).pixels, record.boxes[0]
    patch = _free_part(pixels, box)
    mirrored = np.concatenate([patch, patch[:, ::-1]], 1)
    mirrored = np.concatenate([mirrored, mirrored[::-1]], 0)
    times = -(-GROUND // np.array(mirrored.shape[:2]))
    canvas = Image.fromarray(np.tile(mirrored, (*times, 1))[:GROUND, :GROUND])
    places = generator.permutation(16)[:OBJECTS]
    shown, boxes = [], []
    for place in places:
        record = records[generator.integers(len(records))]
        label, box = record.names[0], record.boxes[0]
        if label not in names:
            continue
        x1, y1 = np.maximum(np.floor(box[:2]) - 4, 0).astype(int)
        x2, y2 = np.minimum(np.ceil(box[2:]) + 4, (record.width, record.height)).astype(int)
        cut = Image.fromarray(OpenImage.read(record).pixels[y1:y2, x1:x2])
        room = GROUND // 4
        x, y = (int(v) for v in (place % 4, place // 4) * np.array(room) + generator.integers(0, room // 2 - 100, 2))
        canvas.paste(cut, (x, y))
        shown.append(label)
        boxes.append(np.clip(box - (x1, y1, x1, y1), 0, None) + np.tile((x, y), 2))
    return OpenImage.of(f"ground {name}", canvas, shown, boxes)


def _free_part(pixels: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The largest part of an image beside a box, over its whole width or height."""
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = box.astype(int)
    parts = [pixels[:, : max(x1, 1)], pixels[:, min(x2 + 1, width - 1) :]]
    parts += [pixels[: max(y1, 1)], pixels[min(y2 + 1, height - 1) :]]
    return max(parts, key=lambda part: part.shape[0] * part.shape[1])


def _marked(
    name: str, classes: Sequence[str], shown: Sequence[OpenImage], queries: Sequence[OpenImage], marks: int
) -> TiledSet:
    """The first marks of each class in some images, for the classes that have so many."""
    support: dict[str, list[tuple[Any, Any]]] = {}
    for label in classes:
        pairs = [(image.pixels, image.boxes[b]) for image in shown for b in plain_boxes(image, label)]
        if len(pairs) >= marks:
            support[label] = pairs[:marks]
    known = tuple(sorted(support))
    kept = []
    for image in queries:
        rows = [b for b, label in enumerate(image.names) if label in known]
        kept.append(OpenImage.of(image.id, Image.fromarray(image.pixels), [image.names[b] for b in rows], image.boxes[rows]))
    return TiledSet(name, known, support, kept)


SETS: dict[str, Callable[[Path, int, int], TiledSet]] = {"deeppcb": deeppcb, "aerial": aerial, "fod": fod}
