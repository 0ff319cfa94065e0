"""Scenes of generated characters, laid out as a Pascal VOC devkit: the detection data that need no download.

    python -m data.generated.glyph_scenes --root data/glyph_scenes

A scene (`scene_composition` says how it is painted) holds 3 to 5 characters of at least three classes, so that each
of them has at least two distractors of other classes beside it. Every character is annotated, clutter is not.

Image sets: `train` and `val` hold base classes only, `novel_support` and `novel_query` novel classes only, no image is in
two of them, and the class lists stand beside `ImageSets` as `classes_base.txt` and `classes_novel.txt`. The novel
characters do not depend on how many base classes there are. Same parameters, same files.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from repmet.data.generated.scene_composition import compose
from repmet.errors import UserError, exit_code

# Raised by whoever changes what a given seed and size look like: sets of different formats are not comparable.
FORMAT = 1
CHARACTERS = (3, 5)
FIRST_NOVEL_ID = 100_000
# Streams of random numbers that meet neither each other nor those of data.generated.glyphs.
_DEAL_STREAM, _SCENE_STREAM = 3, 4
MANIFEST = "glyph_scenes.json"
IMAGE_SETS = ("train", "val", "novel_support", "novel_query")


@dataclass(frozen=True)
class Parameters:
    """What makes one laid-out set differ from another; kept in its manifest."""

    seed: int = 0
    image_size: int = 192
    base_classes: int = 80
    novel_classes: int = 20
    counts: dict[str, int] = field(
        default_factory=lambda: {"train": 2000, "val": 200, "novel_support": 300, "novel_query": 500}
    )
    format: int = field(default=FORMAT, init=False)

    def check(self) -> None:
        """Raises ValueError where no sensible set can be made."""
        if self.image_size < 160:
            raise UserError(f"image_size={self.image_size}: characters of up to 64 px need 160 px or more")
        for name in IMAGE_SETS:
            classes = self.novel_classes if name.startswith("novel") else self.base_classes
            if classes < CHARACTERS[0]:
                raise UserError(f"{name}: {classes} classes; a scene mixes at least {CHARACTERS[0]}, so ask for more")
            if self.counts[name] * CHARACTERS[0] < classes:
                raise UserError(f"{name}: {self.counts[name]} scenes cannot show {classes} classes; ask for more scenes")


def lay_out(root: str | Path, *, workers: int = 1, **parameters) -> Path:
    """Write the devkit to `root`, or keep the one that is there when it was made with the same parameters.

    parameters: fields of `Parameters`; `counts` may name some of the image sets, the others keep their defaults.
    workers: processes. More than one start by importing the caller's main module again (no fork: the caller may have
    threads), so they pay only where that module is light, as this one is. The folder appears under its name only when
    complete. Raises FileExistsError when `root` holds anything else, ValueError for parameters that make no sense.
    """
    root = Path(root)
    counts = {**Parameters().counts, **parameters.pop("counts", {})}
    if unknown := set(counts) - set(IMAGE_SETS):
        raise UserError(f"unknown image set {sorted(unknown)}; there are {', '.join(IMAGE_SETS)}")
    wanted = Parameters(counts=counts, **parameters)
    wanted.check()
    if _is_laid_out(root, wanted):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = root.with_name(f".{root.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _write(unfinished, wanted, workers)
        if root.is_dir():  # empty, else _is_laid_out had refused
            root.rmdir()
        try:
            unfinished.rename(root)
        except OSError:  # somebody else was quicker
            if not _is_laid_out(root, wanted):
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return root


def class_name(class_id: int) -> str:
    """`base_007` or `novel_003`, from the class id."""
    return f"novel_{class_id - FIRST_NOVEL_ID:03d}" if class_id >= FIRST_NOVEL_ID else f"base_{class_id:03d}"


def _is_laid_out(root: Path, wanted: Parameters) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        parameters = json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError):
        raise FileExistsError(f"{root} exists and holds no glyph scenes ({MANIFEST}); give another folder") from None
    if parameters != asdict(wanted):
        differing = sorted(key for key in {*parameters, *asdict(wanted)} if parameters.get(key) != asdict(wanted).get(key))
        raise FileExistsError(
            f"{root} holds glyph scenes made with other parameters ({', '.join(differing)}); "
            "delete it or give another folder"
        )
    return True


def _write(root: Path, wanted: Parameters, workers: int) -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    base = list(range(wanted.base_classes))
    novel = list(range(FIRST_NOVEL_ID, FIRST_NOVEL_ID + wanted.novel_classes))
    for name, ids in (("base", base), ("novel", novel)):
        (root / f"classes_{name}.txt").write_text("".join(f"{class_name(i)}\n" for i in ids))
    jobs = []
    for number, image_set in enumerate(IMAGE_SETS):
        classes = _deal(novel if image_set.startswith("novel") else base, (_DEAL_STREAM, wanted.seed, number))
        names = [f"{image_set}_{i:05d}" for i in range(wanted.counts[image_set])]
        jobs += [(name, next(classes), (_SCENE_STREAM, wanted.seed, number, i)) for i, name in enumerate(names)]
        (root / "ImageSets" / "Main" / f"{image_set}.txt").write_text("".join(f"{name}\n" for name in names))
    write_one = partial(_write_scene, root=root, size=wanted.image_size, seed=wanted.seed)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for _ in pool.map(write_one, jobs, chunksize=50):
                pass
    else:
        for job in jobs:
            write_one(job)
    (root / MANIFEST).write_text(json.dumps(asdict(wanted), indent=2) + "\n")


def _deal(class_ids: list[int], seed: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Classes of one scene after another, at least three different ones in each, every class equally often."""
    rng = np.random.default_rng(seed)
    deck: list[int] = []
    while True:
        hand: list[int] = []
        for _ in range(rng.integers(CHARACTERS[0], CHARACTERS[1] + 1)):
            if len(deck) < CHARACTERS[1]:
                deck += rng.permutation(class_ids).tolist()
            # One in five repeats a class of the scene, once three are there; else the next that is not there yet.
            if len(hand) >= CHARACTERS[0] and rng.random() < 0.2:
                hand.append(hand[rng.integers(len(hand))])
            else:
                hand.append(deck.pop(next((i for i, c in enumerate(deck) if c not in hand), 0)))
        yield tuple(hand)


def _write_scene(job: tuple[str, tuple[int, ...], tuple[int, ...]], *, root: Path, size: int, seed: int) -> None:
    name, class_ids, stream = job
    scene = compose(class_ids, np.random.default_rng(stream), size=size, seed=seed)
    path = root / "JPEGImages" / f"{name}.jpg"
    if not cv2.imwrite(str(path), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 90]):
        raise OSError(f"could not write {path}: is the disk full?")
    objects = "".join(
        f"  <object>\n    <name>{class_name(c)}</name>\n    <truncated>0</truncated>\n"
        f"    <occluded>{int(covered > 0.05)}</occluded>\n    <difficult>0</difficult>\n"
        # VOC counts pixels from 1 and includes the last one
        f"    <bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox>\n"
        "  </object>\n"
        for c, (x, y, w, h), covered in zip(scene.class_ids, scene.boxes.tolist(), scene.covered, strict=True)
    )
    (root / "Annotations" / f"{name}.xml").write_text(
        f"<annotation>\n  <filename>{name}.jpg</filename>\n"
        f"  <size><width>{size}</width><height>{size}</height><depth>3</depth></size>\n{objects}</annotation>\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    defaults = Parameters()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="the folder to make")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--image-size", type=int, default=defaults.image_size)
    parser.add_argument("--base-classes", type=int, default=defaults.base_classes)
    parser.add_argument("--novel-classes", type=int, default=defaults.novel_classes)
    for name in IMAGE_SETS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=defaults.counts[name], metavar="IMAGES")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = vars(parser.parse_args(argv))
    counts = {name: arguments.pop(name) for name in IMAGE_SETS}

    def command() -> None:
        root = lay_out(counts=counts, **arguments)
        print(f"{root}: " + ", ".join(f"{name} {count} images" for name, count in counts.items()))

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
