"""What an ordinary detector learns from a few marks: student minus teacher on an annotated folder.

    python -m benchmarks.distil my_photos --marks 5 --out distil.json

The teacher is the detector that ships, shown k boxes of each class of the train list. It labels that list as `repmet label`
does, and `experiments/detection/student.yaml` is trained on nothing else. Both search the test list. `--by-hand` trains a
third one on the annotations of the train list, which is what the labels would be worth if they were right.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import check_folder, write_json
from repmet.data.sources.voc import ImageRecord
from repmet.detection import train
from repmet.detection.exports import export
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.label import labels, prepare_training
from repmet.detection.protocols.own_data import OwnData, figures_of, read_own_data
from repmet.detection.scoring.detections import Detections
from repmet.errors import UserError, exit_code
from repmet.experiments.running.provenance import origin

STUDENT = "experiments/detection/student.yaml"


def taught(data: OwnData, marks: int, seed: int) -> FewShotDetector:
    """The detector that ships, shown so many boxes of each class."""
    drawn = data.marks(marks, seed)
    boxes = {
        name: [(str(data.records[i].path), data.records[i].boxes[b].tolist()) for i, b in places]
        for name, places in zip(data.classes, drawn, strict=True)
    }
    return FewShotDetector().learn(boxes)


def searched(detector: FewShotDetector, queries: Sequence[ImageRecord], classes: Sequence[str]) -> dict[str, float]:
    """The figures of a detector on images, all of its finds counted."""
    detections = detector.detect([r.path for r in queries], min_score=0.0, progress=False)
    number = {name: k for k, name in enumerate(classes)}
    rows = [Detections(f.boxes, f.scores, [number[name] for name in f.names]) for f in detections]
    return figures_of(rows, queries, classes)


def student(folder: Path, work: Path, *options: str) -> tuple[FewShotDetector, float]:
    """The student that a folder teaches, and its minutes."""
    start = time.monotonic()
    words = [STUDENT, "--data", str(folder), "--work-dir", str(work)]
    if train.main([*words, *(("--cfg-options", *options) if options else ())]):
        raise UserError(f"{folder}: nothing can be trained on it")
    return FewShotDetector(work), (time.monotonic() - start) / 60


def run(args: argparse.Namespace) -> None:
    check_folder(Path(args.out).parent)
    data = read_own_data(args.data)
    queries = data.queries(data.marks(args.marks, args.seed))
    with tempfile.TemporaryDirectory() as scratch:
        start = time.monotonic()
        teacher = taught(data, args.marks, args.seed)
        detections = teacher.detect([r.path for r in data.train], min_score=0.0, progress=False)
        made = export(
            labels(detections, teacher.thresholds, args.accept), Path(scratch) / "set", "voc", images=True, sure=args.accept
        )
        prepare_training(made.folder, teacher.classes)
        drawn = sum(len(places) for places in data.marks(args.marks, args.seed))
        rows = [_row("teacher", teacher, drawn, (time.monotonic() - start) / 60, data, queries)]
        learnt, minutes = student(made.folder, Path(scratch) / "student")
        rows.append(_row("student", learnt, made.boxes, minutes, data, queries))
        if args.by_hand:
            options = ("data.base_classes=" + repr(list(data.classes)),)
            learnt, minutes = student(Path(args.data), Path(scratch) / "by_hand", *options)
            objects = sum(not hard for r in data.train for hard in r.difficult)
            rows.append(_row("by_hand", learnt, objects, minutes, data, queries))
    about = {"set": data.name, "marks": args.marks, "accept": args.accept, "images": len(data.train)}
    write_json(args.out, {"protocol": "distil", "seed": args.seed, **origin(), "rows": [about | row for row in rows]})


def _row(
    name: str, detector: FewShotDetector, boxes: int, minutes: float, data: OwnData, queries: Sequence[ImageRecord]
) -> dict[str, Any]:
    """What a detector finds, how many boxes taught it, and the minutes of labelling or training; said at once."""
    figures = searched(detector, queries, data.classes)
    print(f"{name:<8} AP50 {100 * figures['AP50']:.1f}, {figures['false_finds']:.2f} false finds an image, {boxes} boxes")
    means = figures | {"boxes": boxes, "minutes": minutes}
    return {"detector": name, **{metric: {"mean": mean} for metric, mean in means.items()}}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.distil", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="an annotated folder with the lists train and test")
    parser.add_argument("--marks", type=int, default=5, metavar="K", help="boxes of each class (default: 5)")
    parser.add_argument("--accept", type=float, default=0.7, metavar="S", help="lowest score of a label (default: 0.7)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the marks (default: 0)")
    parser.add_argument("--by-hand", action="store_true", help="also train on the annotations themselves")
    parser.add_argument("--out", default="build/bench/distil.json", metavar="FILE")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
