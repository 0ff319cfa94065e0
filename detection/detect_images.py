"""`detect` on images: what is found in each is kept as it is found, and at the end written as files and pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from repmet.data.files.atomic import write_atomically, write_json
from repmet.data.files.output_folder import check_output, output_folder
from repmet.data.files.walk import check_drawn_folder, make_drawn_folder
from repmet.data.readers.image_inputs import ImageInput
from repmet.detection.drawing_thread import Drawing
from repmet.detection.exports import LABELS, export, files_of
from repmet.detection.formats import coco
from repmet.detection.image_list import with_text_names
from repmet.detection.lines import from_line, line
from repmet.detection.results import Detections
from repmet.detection.scoring.calibration import PLAIN_SHOWN, PLAIN_THRESHOLD, UNKNOWN
from repmet.errors import INTERRUPTED, UserError
from repmet.experiments.running.processes import processes
from repmet.experiments.running.shared_images import UNFINISHED, SharedImages, asked
from repmet.wording import counted, on_a_line

LINES = "jsonl"  # the format that takes no memory, however many images there are
PICTURES, LINES_FILE, RESULTS_FILES = "pictures", "detections.jsonl", ("results.json", "images.json")


def check(inputs: Sequence[ImageInput], args: argparse.Namespace) -> None:
    """Raises ValueError where files of somebody else's are in the way of what `look` will write."""
    if args.format in (None, LINES):
        check_output(args.out, RESULTS_FILES if args.format is None else [LINES_FILE])
    else:
        names = files_of(with_text_names(inputs)[0], args.format, copied=args.copy_images)
        check_output(args.out, names, LABELS.get(args.format))
    if args.pictures != 0:
        check_drawn_folder(Path(args.out) / PICTURES)


def look(detector: Any, inputs: Sequence[ImageInput], args: argparse.Namespace) -> int:
    """Looks at images, alone or with the processes that torchrun started; the first of them writes.

    Returns:
        0; of one process 1 where images could not be looked at, and what a shell expects where it was interrupted.

    Raises:
        ValueError: no image could be looked at; a process has died.
        OSError: no room for what is written.
    """
    unreadable: list[str] = []
    if args.format not in (None, LINES):  # whose files are text
        inputs, unreadable = with_text_names(inputs)
    out, drawn = Path(args.out), len(inputs) if args.pictures is None else args.pictures

    def picture(number: int) -> Path:
        return out / PICTURES / f"{number:05d}_{inputs[number].stem}.png"

    reads = [args.checkpoint, args.support, *(image for _, image, _ in args.mark)]
    shared = SharedImages(
        inputs, out / UNFINISHED, asked(args, reads, out), lambda number: number >= drawn or picture(number).is_file()
    )
    mine: list[str] = []
    interrupted = False
    with Drawing() as drawing:
        try:
            for detections in _looked(detector, shared.mine, args, mine):
                if (number := shared.number(detections.image)) < drawn:
                    make_drawn_folder(out / PICTURES)
                    drawing.add(shown(detections, detector, args.show), picture(number))
                shared.add(detections.image, line(detections))
        except KeyboardInterrupt:  # what was found is written, and kept for the same command
            if not shared.looked_at():
                raise
            interrupted = True
    if not shared.finish(mine):
        return 0
    problems = shared.problems()
    unreadable += problems
    if len(problems) == len(inputs):
        shared.remove()
        raise UserError("; ".join(unreadable))
    looked_at = _write(detector, shared, args)
    for problem in unreadable:
        print(f"passed over: {on_a_line(problem)}", file=sys.stderr)
    if interrupted:
        left = len(inputs) - looked_at - len(problems)
        print(f"interrupted: {left} images were not looked at; the same command goes on with them", file=sys.stderr)
        return INTERRUPTED
    shared.remove()
    return 1 if unreadable and processes() == 1 else 0  # torchrun takes every other code for a death


def _looked(
    detector: Any, images: list[ImageInput], args: argparse.Namespace, unreadable: list[str]
) -> Iterator[Detections]:
    if not images:
        return iter(())
    return detector.detect(images, min_score=args.min_score, unknown=args.unknown, unreadable=unreadable)


def _write(detector: Any, shared: SharedImages, args: argparse.Namespace) -> int:
    """Writes and prints what was found in all images; the number of those that were looked at."""
    out = Path(args.out)
    if args.format == LINES:
        boxes, images, written = _write_lines(shared, out)
    else:
        classes = (*detector.classes, *[UNKNOWN] * args.unknown)
        results = [from_line(image, values, classes) for _, image, values in shared.entries()]
        if args.format:
            written = export(results, out, args.format, images=args.copy_images).file
        else:
            written = _write_results(results, out)
        for detections in results:
            best = [f"{name} {score:.2f}" for _, name, score, *_ in shown(detections, detector, args.show).rows()]
            more = f" and {len(best) - 8} more" if len(best) > 8 else ""
            print(f"{on_a_line(detections.image.name)}: {', '.join(best[:8]) or 'nothing'}{more}")
        boxes, images = sum(map(len, results)), len(results)
    pictures = "" if args.pictures == 0 else f"; look at {out / PICTURES}"
    print(f"written: {written}, {counted(boxes, 'box')} in {counted(images, 'image')}{pictures}")
    return images


def _write_lines(shared: SharedImages, out: Path) -> tuple[int, int, Path]:
    """A line an image, in their order; how many boxes and images, and the file."""
    boxes = images = 0

    def write(file: BinaryIO) -> None:
        nonlocal boxes, images
        for _, _, values in shared.entries():
            file.write(f"{json.dumps(values, ensure_ascii=False)}\n".encode())
            boxes, images = boxes + len(values["detections"]), images + 1

    with output_folder(out) as aside:
        write_atomically(aside / LINES_FILE, write)
    return boxes, images, out / LINES_FILE


def _write_results(results: Sequence[Detections], out: Path) -> Path:
    """COCO's format of results, and what its numbers mean."""
    listing = coco(results)
    rows = [{key: row[key] for key in ("image_id", "category_id", "bbox", "score")} for row in listing.pop("annotations")]
    with output_folder(out) as aside:
        for name, content, indent in zip(RESULTS_FILES, (rows, listing), (None, 1), strict=True):
            write_json(aside / name, content, indent=indent)
    return out / RESULTS_FILES[0]


def shown(detections: Detections, detector: Any, least: float | None) -> Detections:
    """What is drawn and printed: from one score on, or by each class's threshold where its scores are probabilities."""
    if least is not None:
        return detections.filter(least)
    drawn = {name: PLAIN_SHOWN if value == PLAIN_THRESHOLD else value for name, value in detector.thresholds.items()}
    above = detections.scores >= np.array([drawn.get(name, PLAIN_SHOWN) for name in detections.names])
    return detections[above if detections.tracks is None else above | (detections.tracks >= 0)]
