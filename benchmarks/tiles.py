"""What overlapping tiles are worth and what they cost: AP50 by the size of the objects, with `--tile auto` and without.

    python -m benchmarks.tiles --data REPMET_DATA [--images 12] [--marks 5] [--out FILE]

Three sets: `deeppcb`, boards with small faults; `aerial`, photographs of COCO reduced to a sixth and laid side by side, as
from a height (a quarter as many images, of 144 photographs each); `fod`, objects on tarmac pasted at their size into grounds
of 2,048 pixels (half as many). Marks are of images that are not searched.
Sizes are sides of a square of the same area, in pixels of the image: tiny below 16, small below 32, medium to 96, large.
By ONNX Runtime or OpenVINO, milliseconds an image with decoding.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from repmet.benchmarks.measure import environment
from repmet.benchmarks.tiles_sets import SETS, TiledSet
from repmet.data.files.atomic import write_json
from repmet.detection.results import Detections
from repmet.detection.tiles import AUTO, OFF
from repmet.errors import exit_code
from repmet.experiments.running.provenance import invocation
from repmet.runtime import FewShotDetector

SIZES = {"all": (0, 1e5), "tiny": (0, 16), "small": (0, 32), "medium": (32, 96), "large": (96, 1e5)}


@dataclass(frozen=True)
class TileRow:
    """One set with or without tiles; `ap50` and `objects` by size, None where there is no object of it."""

    set: str
    tile: str
    side: int | None
    marks: int
    images: int
    milliseconds: float
    ap50: dict[str, float | None]
    objects: dict[str, int]


def ap50_by_size(results: Sequence[Detections], data: TiledSet) -> tuple[dict[str, float | None], dict[str, int]]:
    """COCO's AP at IoU 0.5 with its areas and the tiny ones, means over the classes that have objects of the size."""
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def row(box: np.ndarray) -> list[float]:
        x1, y1, x2, y2 = map(float, box)
        return [x1, y1, x2 - x1, y2 - y1]

    marked, detected = [], []
    for number, (image, detections) in enumerate(zip(data.queries, results, strict=True)):
        for name, box in zip(image.names, image.boxes, strict=True):
            about = {"image_id": number, "category_id": data.classes.index(name), "bbox": row(box), "iscrowd": 0}
            marked.append(about | {"id": len(marked) + 1, "area": about["bbox"][2] * about["bbox"][3]})
        for box, score, label in zip(detections.boxes, detections.scores, detections.labels, strict=True):
            detected.append({"image_id": number, "category_id": int(label), "bbox": row(box), "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": k} for k in range(len(data.queries))],
            "categories": [{"id": k} for k in range(len(data.classes))],
            "annotations": marked,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detected), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng = [[low**2, high**2] for low, high in SIZES.values()]
        evaluation.params.areaRngLbl = list(SIZES)
        evaluation.params.maxDets = [300]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0]  # (recalls, classes, areas, 1)
    values: dict[str, float | None] = {}
    for number, size in enumerate(SIZES):
        there = precision[:, :, number, 0]
        there = there[:, (there > -1).all(0)]
        values[size] = float(there.mean()) if there.size else None
    sides = np.sqrt([a["area"] for a in marked])
    return values, {size: int(((sides >= low) & (sides < high)).sum()) for size, (low, high) in SIZES.items()}


def measured(data: TiledSet, marks: int, folder: Path, threads: int) -> Iterator[TileRow]:
    """A row without tiles and one with them."""
    for tile in (OFF, AUTO):
        detector = FewShotDetector(folder, tile=tile, threads=threads).learn(data.support)
        start = time.perf_counter()
        results = [detector.detect(image.pixels, min_score=0.0) for image in data.queries]
        spent = 1e3 * (time.perf_counter() - start) / len(results)
        ap50, objects = ap50_by_size(results, data)
        yield TileRow(data.name, tile, detector.tile_side, marks, len(results), spent, ap50, objects)


def show(rows: Sequence[TileRow]) -> None:
    for r in rows:
        cells = [f"{name} {'-' if v is None else format(100 * v, '.1f')} ({r.objects[name]})" for name, v in r.ap50.items()]
        print(f"{r.set:<10}{r.tile:<6}{r.side or '-':>6}{r.milliseconds:>9.0f} ms  " + "  ".join(cells), flush=True)


def run(args: argparse.Namespace) -> None:
    rows: list[TileRow] = []
    with tempfile.TemporaryDirectory() as scratch:
        exporting = [sys.executable, "-m", "repmet", "export", "--out", scratch]
        subprocess.run(exporting, check=True, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.DEVNULL)
        for name in args.sets:
            data = SETS[name](args.data, args.images, args.marks)
            for row in measured(data, args.marks, Path(scratch), args.threads):
                show([row])
                rows.append(row)
    if args.out:
        content = {"command": invocation(), "env": environment(), "tiles": [asdict(row) for row in rows]}
        write_json(args.out, content)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="with own/deeppcb, coco609 and FOD-A")
    parser.add_argument(
        "--sets", nargs="+", choices=tuple(SETS), default=list(SETS), metavar="SET", help="which of the three"
    )
    parser.add_argument("--images", type=int, default=12, metavar="N", help="of deeppcb that are searched (default: 12)")
    parser.add_argument("--marks", type=int, default=5, metavar="K", help="marks a class (default: 5)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of the runtime (default: 2)")
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
