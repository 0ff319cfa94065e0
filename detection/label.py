"""Label images by a detector that was shown a few marks: a data set that an ordinary detector trains on.

    repmet label --support my_support --images my_photos --out labelled
    repmet label --support my_classes.pth --images my_photos --accept 0.8 --format yolo --out labelled

What is found with a score of at least `--accept` becomes a box. What is found with less, but above its class's threshold, is
neither an object nor background: it is a crowd in COCO and difficult in VOC, places that a training ignores; YOLO's layout
cannot say so and has no such box. Images without any box are in the set too. Nobody has looked at the labels: read a few.
What was stopped goes on by the same command, and torchrun shares the images among processes.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from repmet.data.files.atomic import check_folder, write_text
from repmet.data.files.video import is_video_file
from repmet.data.files.whole_folder import whole_folder
from repmet.data.readers.image_inputs import ImageInput, image_inputs
from repmet.detection.exports import export
from repmet.detection.image_list import each_once, with_text_names
from repmet.detection.lines import from_line, line
from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.results import Detections
from repmet.detection.support_parser import keeps_classes, marks_option
from repmet.detection.tiles import OFF, check_tile
from repmet.errors import UserError
from repmet.experiments.running.processes import join, process_number, processes, say
from repmet.experiments.running.shared_images import UNFINISHED, SharedImages, asked
from repmet.wording import counted, on_a_line

PROG = "repmet label"
FORMATS = ("coco", "yolo", "voc")
SAME = 0.6  # overlap from which on boxes of two classes are one object
LIST = "train"  # of a set in VOC's layout


def run(args: argparse.Namespace, inputs: Sequence[ImageInput], detector: Any) -> int:
    """The command; 1 where images could not be read, or nothing was accepted."""
    support = Path(args.support)
    (detector.load if keeps_classes(support, args.marks) else detector.learn)(support)
    say(f"{counted(len(detector.classes), 'class')}: {', '.join(detector.classes)}")
    inputs, unreadable = with_text_names(inputs)
    out = Path(args.out)
    shared = SharedImages(inputs, out / UNFINISHED, asked(args, [args.checkpoint, support], out))
    mine: list[str] = []
    if shared.mine:
        least = min(args.accept, *detector.thresholds.values())
        looked = detector.detect(shared.mine, min_score=least, unreadable=mine)
        for image in labels(looked, detector.thresholds, args.accept):
            shared.add(image.image, line(image))
    if not shared.finish(mine):
        return 0
    unreadable += shared.problems()
    labelled = [from_line(image, values, detector.classes) for _, image, values in shared.entries()]
    if not labelled:
        shared.remove()
        raise UserError("; ".join(unreadable))
    with whole_folder(args.out) as aside:
        made = export(labelled, aside, args.format, images=True, sure=args.accept)
        if args.format == "voc":
            prepare_training(aside, detector.classes)
    _tell(labelled, args)
    for problem in unreadable:
        print(f"passed over: {on_a_line(problem)}", file=sys.stderr)
    print(f"written: {args.out}, {counted(made.boxes, 'box')} in {counted(made.images, 'image')}")
    if not made.boxes:
        advice = "mark more, or lower --accept and name a new folder"
        print(f"nothing has a score of {args.accept:g}, so no image has a box: {advice}", file=sys.stderr)
    shared.remove()
    return 1 if (unreadable or not made.boxes) and processes() == 1 else 0  # torchrun takes another code for a death


def labels(detections: Iterable[Detections], thresholds: Mapping[str, float], accept: float) -> Iterable[Detections]:
    """What is accepted or in doubt, without the pictures; of boxes of two classes on one object the one that is surer.

    Args:
        detections: of each image, best first.
        thresholds: by class; what scores less is nothing.
        accept: from here on all is accepted, also below the threshold.
    """
    for image in detections:
        shown = image[image.scores >= np.array([min(accept, thresholds[name]) for name in image.names])].best_first()
        kept: list[int] = []
        for row in range(len(shown)):
            others = [other for other in kept if shown.labels[other] != shown.labels[row]]
            if not others or pairwise_iou(shown.boxes[[row]], shown.boxes[others]).max() < SAME:
                kept.append(row)
        yield replace(shown[kept], supports=None, picture=None)


def _tell(labelled: list[Detections], args: argparse.Namespace) -> None:
    """A line a class: how much was accepted and how much is in doubt."""
    accepted = Counter(name for image in labelled for name in image.above(args.accept).names)
    doubtful = Counter(name for image in labelled for name in image[image.scores < args.accept].names)
    empty = sum(not len(image.above(args.accept)) for image in labelled)
    for name in labelled[0].classes:
        print(f"{name}: {accepted[name]} accepted, {doubtful[name]} in doubt")
    print(f"{counted(empty, 'image')} of {len(labelled)} without an accepted box")


def prepare_training(folder: Path, classes: Iterable[str]) -> None:
    """Gives list and classes of a set in VOC's layout the names under which `experiments/detection/student.yaml` looks."""
    written = folder / "ImageSets" / "Main" / "default.txt"
    written.rename(written.with_stem(LIST))
    write_text(folder / "classes_base.txt", "".join(f"{name}\n" for name in classes))


def checked(args: argparse.Namespace) -> list[ImageInput]:
    """The images. Raises ValueError or OSError for options that cannot be right, before a detector is opened.

    Of processes that torchrun started it joins them.
    """
    join()
    check_tile(args.tile)
    if not 0 < args.accept <= 1:
        raise UserError(f"--accept is in (0, 1], not {args.accept:g}")
    if videos := [path for path in args.images if is_video_file(path) and Path(path).is_file()]:
        raise UserError(f"{videos[0]}: a data set is made of images; save the frames that you want as files first")
    out = Path(args.out)
    if out.is_dir() and any(path.name != UNFINISHED for path in out.iterdir()):
        raise UserError(f"{out}: is not empty; name a new folder by --out")
    inputs = each_once(image_inputs(args.images))
    if process_number() == 0:
        check_folder(out)
    return inputs


def command_line(prog: str = PROG) -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the weights that ship")
    parser.add_argument("--support", required=True, metavar="DIR|FILE", help="what shows the classes, as for detect")
    marks_option(parser)
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="files, and folders of images")
    parser.add_argument("--out", required=True, metavar="DATASET", help="a new folder for the set, images included")
    parser.add_argument("--accept", type=float, default=0.9, metavar="S", help="lowest score of a box (default: 0.9)")
    parser.add_argument("--format", choices=FORMATS, default="coco", help="layout of the set (default: coco)")
    parser.add_argument("--batch-size", type=int, default=4, metavar="B", help="images of one size at once (default: 4)")
    parser.add_argument("--tile", default=OFF, metavar="auto|N|off", help="look at tiles too, as for detect (default: off)")
    return parser
