"""What data sets of the sizes of COCO and ImageNet-LOC cost before the first image: seconds and memory.

    python -m benchmarks.sizes --out build/bench/sizes.json

The trees are laid out as they are distributed, with as many images and boxes as theirs, made at random; the images are
links to a few small pictures, so that what opens all of them costs less than with photographs. For each, in a process of
its own: read the list and draw 500 episodes (5-way, 5-shot, 10 queries), as `detection.evaluate` does; make the data set
of a training and take its first image, as `detection.train` does. The memory is the most that the process held, and with
nothing read. With TMPDIR on a disk of memory (`TMPDIR=/dev/shm`) no disk is waited for.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from repmet.data.files.atomic import check_folder, write_json
from repmet.errors import UserError, exit_code
from repmet.experiments.running.provenance import origin
from repmet.installation import checkout

# Images, boxes and classes of the lists: COCO train2017; ILSVRC's CLS-LOC train, of whose images these have boxes.
SETS = {"COCO train2017": (117_266, 860_001, 80), "ImageNet-LOC train": (544_546, 593_173, 1000)}
PICTURES = 64  # that the images are links to: a file takes at most 65,000 links
SIDE = 64  # pixels
NOVEL = 5  # one class of so many is novel


def boxes_of(draw: np.random.Generator, count: int) -> np.ndarray:
    """Corners (count, 4) in whole pixels, inside of the picture."""
    corner = draw.integers(0, SIDE - 16, (count, 2))
    return np.concatenate([corner, corner + draw.integers(8, 16, (count, 2))], 1)


def dealt(draw: np.random.Generator, images: int, boxes: int) -> np.ndarray:
    """How many of the boxes each image has: at least one."""
    return 1 + np.bincount(draw.integers(0, images, boxes - images), minlength=images)


def pictures(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    for number in range(PICTURES):
        pixels = np.random.default_rng(number).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return sorted(folder.iterdir())


def lay_out_coco(root: Path, images: int, boxes: int, classes: int) -> list[str]:
    """`annotations/instances_train2017.json` and `train2017/`; the names of the classes."""
    draw, sources = np.random.default_rng(0), pictures(root / "sources")
    (root / "train2017").mkdir()
    (root / "annotations").mkdir()
    names = [f"class {k:02d}" for k in range(classes)]
    counts = dealt(draw, images, boxes)
    places, labels = boxes_of(draw, boxes).tolist(), draw.integers(1, classes + 1, boxes).tolist()
    listed, annotated = [], []
    for number, count in enumerate(counts.tolist()):
        name = f"{number:012d}.jpg"
        os.link(sources[number % PICTURES], root / "train2017" / name)
        listed.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        for _ in range(count):
            k = len(annotated)
            x1, y1, x2, y2 = places[k]
            box = [x1, y1, x2 - x1, y2 - y1]
            annotated.append({"id": k, "image_id": number, "category_id": labels[k], "bbox": box, "area": 1, "iscrowd": 0})
    kinds = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
    content = {"images": listed, "annotations": annotated, "categories": kinds}
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    return names


def lay_out_imagenet(root: Path, images: int, boxes: int, classes: int) -> list[str]:
    """`Annotations/CLS-LOC/train` and `Data/CLS-LOC/train`, a folder a class; their WordNet ids."""
    draw, sources = np.random.default_rng(0), pictures(root / "sources")
    names = [f"n{k:08d}" for k in range(1, classes + 1)]
    places = iter(boxes_of(draw, boxes).tolist())
    size = f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>"
    for number, count in enumerate(dealt(draw, images, boxes).tolist()):
        name = names[number * classes // images]
        xml, data = (root / kind / "CLS-LOC/train" / name for kind in ("Annotations", "Data"))
        if not xml.is_dir():
            xml.mkdir(parents=True)
            data.mkdir(parents=True)
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
            f"<ymax>{y2}</ymax></bndbox></object>"
            for x1, y1, x2, y2 in (next(places) for _ in range(count))
        )
        (xml / f"{name}_{number}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
        os.link(sources[number % PICTURES], data / f"{name}_{number}.JPEG")
    return names


LAYOUTS = {"COCO train2017": (lay_out_coco, "train2017"), "ImageNet-LOC train": (lay_out_imagenet, "train")}


def evaluation(root: str, image_set: str, novel: Sequence[str], base: Sequence[str]) -> None:
    """What `detection.evaluate` does before its first image."""
    from repmet.data.readers.annotated_folder import read_images
    from repmet.detection.episodes.sampling import sample_episodes

    records = read_images(root, image_set, classes=novel)
    drawn = sample_episodes(
        records,
        records,
        way=5,
        shots=[5],
        query_images=10,
        episodes=500,
        seed=0,
        classes=novel,
        names={"support": [image_set], "query": [image_set]},
    )
    assert len(drawn.episodes) == 500


def training(root: str, image_set: str, novel: Sequence[str], base: Sequence[str]) -> None:
    """What `detection.train` does before its first step: the data set, every image read to its end, and one image."""
    from repmet.detection.dataset import DevkitDataset

    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "PackDetInputs"},
    ]
    data = DevkitDataset(root=root, image_set=image_set, classes=base, drop=novel, pipeline=pipeline)
    data[0]


STAGES: dict[str, Callable[[str, str, Sequence[str], Sequence[str]], None]] = {"evaluate": evaluation, "train": training}


def in_this_process(stage: str, root: str, image_set: str, names: Sequence[str]) -> None:
    """Runs a stage and prints what it took as JSON."""
    from mmengine.registry import DefaultScope

    import repmet.detection.experiment  # noqa: F401  (all that the commands import)
    from repmet.benchmarks.memory import peak_memory

    before, start = peak_memory(), time.monotonic()
    with DefaultScope.overwrite_default_scope("mmdet"):
        STAGES[stage](root, image_set, names[::NOVEL], [name for k, name in enumerate(names) if k % NOVEL])
    print(json.dumps({"seconds": time.monotonic() - start, "before_mib": before, "peak_mib": peak_memory()}))


def measured(name: str, share: float) -> list[dict[str, Any]]:
    images, boxes, classes = SETS[name]
    images, boxes = int(images * share), int(boxes * share)
    lay_out, image_set = LAYOUTS[name]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        names = lay_out(Path(scratch) / "set", images, boxes, classes)
        for stage in STAGES:
            words = ["-m", "benchmarks.sizes", "--stage", stage, scratch + "/set", image_set, *names]
            ended = subprocess.run([sys.executable, *words], cwd=checkout(), capture_output=True, text=True)
            if ended.returncode:
                raise UserError(f"{name}, {stage}: {ended.stderr[-500:]}")
            figures = json.loads(ended.stdout.splitlines()[-1])
            rows.append({"set": name, "command": stage, "images": images, "boxes": boxes})
            rows[-1] |= {metric: {"mean": value} for metric, value in figures.items()}
            print(f"{name}, {images} images, {stage}: " + ", ".join(f"{k} {v:.1f}" for k, v in figures.items()), flush=True)
    return rows


def run(args: argparse.Namespace) -> None:
    if args.stage:
        in_this_process(args.stage[0], args.stage[1], args.stage[2], args.stage[3:])
        return
    check_folder(Path(args.out).parent)
    if not 0.001 <= args.share <= 1:
        raise UserError(f"--share is from 0.001 to 1, not {args.share:g}")
    rows: list[dict[str, Any]] = []
    for name in SETS:
        rows += measured(name, args.share)
        write_json(args.out, {"protocol": "sizes", "seed": 0, **origin(), "rows": rows})  # the next set takes long
    print(f"written: {args.out}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sizes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=1.0, metavar="S", help="of the images and boxes (default: 1)")
    parser.add_argument("--stage", nargs="+", help=argparse.SUPPRESS)  # how it calls itself
    parser.add_argument("--out", default="build/bench/sizes.json", metavar="FILE")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
