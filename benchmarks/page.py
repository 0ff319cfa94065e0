"""What the page costs and what it saves: seconds to the page, milliseconds from a box to its finds, boxes per human action.

    python -m benchmarks.page my_photos --out page.json
    python -m benchmarks.page my_photos --images 100 2000 --boxes 20

`my_photos` is annotated. Its images, repeated until there are as many as asked for, are opened by `repmet page`; the time
runs until the page is served. In a session without a browser objects are then marked one after the other, half a second a
drag; the time runs from its end until the finds of the image on the screen are those of it. At last a simulated person goes
through the train list in the order of "Next": accepts, rejects and draws on so many images. Actions are counted against the
boxes that are right in the end (IoU of at least 0.5), where one drawn by hand is one action.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repmet.benchmarks.measure import environment
from repmet.data.files.atomic import check_folder, write_json
from repmet.data.readers.annotated_folder import read_images
from repmet.data.sources.voc import ImageRecord
from repmet.errors import UserError, exit_code
from repmet.experiments.running.provenance import invocation
from repmet.page.gallery import Gallery
from repmet.page.marks import overlap
from repmet.page.project import Project
from repmet.page.session import Session
from repmet.page.teacher import Teacher

HIT = 0.5  # IoU from which on a box is right
DRAWING = 0.5  # seconds from the press of the button to its release
PATIENCE = 7200.0  # seconds for all images to be embedded


def laid_out(records: Sequence[ImageRecord], count: int, folder: Path) -> dict[str, ImageRecord]:
    """So many copies of the images in turn; by the names that they have there, the records."""
    folder.mkdir(parents=True)
    named = {}
    for number in range(count):
        record = records[number % len(records)]
        name = f"{number:05d}{record.path.suffix}"
        shutil.copyfile(record.path, folder / name)
        named[name] = record
    return named


def opened(folder: Path) -> Session:
    """A session on a folder with the detector that ships, started."""
    project = folder / "repmet-page"

    def teacher() -> Teacher:
        from repmet import FewShotDetector

        return Teacher(FewShotDetector(cache=project / "cache"))

    session = Session(Gallery([folder], project), Project(project), teacher)
    session.start()
    return session


def seconds_to_page(folder: Path) -> float:
    """From the command to the line with the address."""
    words = [sys.executable, "-m", "repmet", "page", str(folder), "--no-browser", "--project", str(folder / "first")]
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if re.search(r"http://\S+token=", line):
                    return time.perf_counter() - start
        finally:
            process.kill()
    raise UserError("the page was not served")


def box_to_finds(session: Session, named: dict[str, ImageRecord], boxes: int) -> list[float]:
    """Seconds from each mark to the finds of the image on the screen."""
    taken = []
    for number, name in enumerate(session.names):
        record = named[Path(name).name]
        if not len(record.names) or len(taken) == boxes:
            continue
        session.visit(number)
        session.finder.hold()  # as the stage does when a hand begins to draw
        time.sleep(DRAWING)
        start = time.perf_counter()
        session.draw(number, tuple(record.boxes[0].tolist()), record.names[0])
        while not session.finder.fresh(number):
            time.sleep(0.001)
        taken.append(time.perf_counter() - start)
    return taken


def simulated(session: Session, named: dict[str, ImageRecord], corrected: int) -> dict[str, float]:
    """What a person does on so many images, and what is right in all of them afterwards."""
    records = {number: named[Path(name).name] for number, name in enumerate(session.names)}
    actions, number, seen = 0, 0, 0
    while number is not None and seen < corrected:
        session.visit(number)
        actions += corrected_image(session, number, records[number])
        session.leave(number)
        session.finder.wait(PATIENCE)
        number, seen = session.next_worth(number), seen + 1
    right = wrong = objects = 0
    for number, record in records.items():
        shown = [box for box in session.shown(number) if box.verdict != "rejected"]
        hits = matched(shown, record)
        right, wrong, objects = right + len(hits), wrong + len(shown) - len(hits), objects + len(record.names)
    return {
        "actions": actions,
        "right": right,
        "wrong": wrong,
        "objects": objects,
        "boxes_per_action": right / max(actions, 1),
    }


def corrected_image(session: Session, number: int, record: ImageRecord) -> int:
    """Accepts and rejects what is shown, draws what is missing; the actions that this takes."""
    actions = 0
    undecided = [box for box in session.shown(number) if box.verdict is None]
    hits = matched(undecided, record)
    for row, box in enumerate(undecided):
        if box.key in {shown.key for shown in session.shown(number)}:
            (session.accept if row in hits else session.reject)(number, box.key)
            actions += 1
    for place in set(range(len(record.names))) - set(hits.values()):
        session.draw(number, tuple(record.boxes[place].tolist()), record.names[place])
        actions += 1
    session.finder.wait(PATIENCE)
    return actions


def matched(shown: Sequence[Any], record: ImageRecord) -> dict[int, int]:
    """By the row of a box that is right, the object that it hits; each is hit once, by the surest."""
    hits: dict[int, int] = {}
    for row in sorted(range(len(shown)), key=lambda row: -(shown[row].score or 1.0)):
        for place, (name, box) in enumerate(zip(record.names, record.boxes.tolist(), strict=True)):
            if place not in hits.values() and name == shown[row].name and overlap(shown[row].box, tuple(box)) >= HIT:
                hits[row] = place
                break
    return hits


def run(args: argparse.Namespace) -> None:
    check_folder(Path(args.out).parent)
    records, env = read_images(args.data, args.list), environment()
    of: dict[str, Any] = {"set": Path(args.data).name}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in args.images:
            folder = Path(scratch) / str(count)
            named = laid_out(records, count, folder)
            page = seconds_to_page(folder)
            session = opened(folder)
            try:
                session.finder.wait(PATIENCE)
                taken = [1000 * seconds for seconds in box_to_finds(session, named, args.boxes)]
            finally:
                session.end()
            row = of | {"images": count, "page_s": page, "median_ms": statistics.median(taken)}
            rows.append(row | {"p95_ms": float(np.percentile(taken, 95))})
            print(f"{count} images: page after {page:.1f} s; box to finds {row['median_ms']:.0f} ms, "
                  f"95 % within {rows[-1]['p95_ms']:.0f} ms", flush=True)  # fmt: skip
        folder = Path(scratch) / "person"
        named = laid_out(records, len(records), folder)
        session = opened(folder)
        try:
            session.finder.wait(PATIENCE)
            person = simulated(session, named, args.corrected)
        finally:
            session.end()
    print(f"{person['actions']} actions on {args.corrected} images: {person['right']} of {person['objects']} boxes right, "
          f"{person['wrong']} wrong; {person['boxes_per_action']:.1f} boxes an action, 1 by hand")  # fmt: skip
    corrected = [of | {"images": args.corrected} | person]
    write_json(args.out, {"command": invocation(), "env": env, "page": rows, "person": corrected})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="an annotated folder")
    parser.add_argument("--list", default="train", help="its list (default: train)")
    parser.add_argument("--images", type=int, nargs="*", default=[100, 2000], metavar="N", help="sizes (100 2000)")
    parser.add_argument("--boxes", type=int, default=20, metavar="N", help="marks that are timed (default: 20)")
    parser.add_argument("--corrected", type=int, default=10, metavar="N", help="images that the person corrects (10)")
    parser.add_argument("--out", default="build/bench/page.json", metavar="FILE")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
