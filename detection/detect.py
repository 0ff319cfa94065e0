"""Find objects in your own images: of classes that you show it, without any training, or of those it was trained on.

    python -m detection.detect work_dirs/demo --support my_support --images my_photos --out found
    python -m detection.detect work_dirs/demo --support my_support --images my_photos --save my_classes.pth
    python -m detection.detect work_dirs/demo --support my_classes.pth --images another.jpg
    python -m detection.detect work_dirs/demo --support my_support --images my_photos --finetune
    python -m detection.detect work_dirs/demo --images my_photos
    python -m detection.detect --mark nut clip.mp4@12.4s 10,20,60,80 --images clip.mp4 --track

A support set is a folder of images with VOC XML files, a COCO JSON file or YOLO's data.yaml, or crops of objects sorted into
a folder for each class; `--mark` shows a class by one box. Writes `results.json` (COCO's format of results), `images.json`
(the images and categories that its numbers mean) and `pictures/`: boxes with class and score, and below them the support
that each resembles most. `--format` gives a data set of another tool in the place of the two files: see `detection.exports`;
`--format jsonl` a line an image (`detection.lines`), for very many images. What was stopped goes on by the same command, and
torchrun shares the images among processes: see `experiments.running.shared_images`.
Of a video or a camera (`--images clip.mp4`, `--images 0`) it writes `videos/`: the video with boxes drawn, and a line of
JSON for each frame.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import check_folder
from repmet.data.readers.image_inputs import image_inputs
from repmet.detection import detect_images, detect_video
from repmet.detection.classes_file import check_replaceable
from repmet.detection.detect_images import LINES, shown
from repmet.detection.exports import KINDS
from repmet.detection.image_list import each_once
from repmet.detection.support_parser import keeps_classes, marks_option
from repmet.detection.tiles import OFF, check_tile
from repmet.detection.tracking import check_trackers
from repmet.errors import UserError, exit_code
from repmet.experiments.running.processes import join, process_number, processes, say
from repmet.wording import counted, on_a_line

PROG = "python -m detection.detect"


def in_torch(args: argparse.Namespace) -> Any:
    """The detector of a checkpoint."""
    from repmet.detection.few_shot_detector import FewShotDetector  # here: what runs without torch comes this way too

    return FewShotDetector(args.checkpoint, batch_size=args.batch_size, tile=args.tile, marks=args.marks)


def run(args: argparse.Namespace, opened: Callable[[argparse.Namespace], Any] = in_torch) -> int:
    """The command: what may refuse at once comes before any image is looked at.

    Args:
        opened: gives the detector, a `FewShotDetector` of here or of `repmet.runtime`.

    Returns:
        0, or 1 where images could not be looked at; the results of the others are written.
    """
    for option, score in (("--min-score", args.min_score), ("--show", args.show or 0.0)):
        if not 0 <= score <= 1:
            raise UserError(f"{option} is in [0, 1], not {score:g}")
    if args.batch_size < 1:
        raise UserError(f"--batch-size is at least 1, not {args.batch_size}")
    if args.pictures is not None and args.pictures < 0:
        raise UserError(f"--pictures is at least 0, not {args.pictures}")
    join()
    videos, paths = detect_video.sources(args.images)
    inputs = each_once(image_inputs(paths) if paths else [])
    _check(args, bool(inputs), bool(videos))
    marks = _marks(args.mark)
    if args.save and process_number() == 0:
        check_replaceable(args.save)
    if (inputs or videos) and process_number() == 0:
        check_folder(args.out)
        if inputs:
            detect_images.check(inputs, args)
        if videos:
            detect_video.check(videos, args)
    detector = opened(args)
    _learn(detector, args, marks)
    if args.save and process_number() == 0:
        detector.save(args.save)
        print(f"written: {args.save}")
    code = detect_images.look(detector, inputs, args) if inputs else 0
    problems = detect_video.look(detector, videos, args, lambda detections: shown(detections, detector, args.show))
    for problem in problems:
        print(f"passed over: {on_a_line(problem)}", file=sys.stderr)
    return 1 if problems and processes() == 1 else code


def _check(args: argparse.Namespace, images: bool, videos: bool) -> None:
    """Raises ValueError for options that do not go together."""
    shown = args.support or args.mark
    if not images and not videos and not args.save:
        raise UserError("nothing to do: name images by --images, or a file by --save")
    if check_tile(args.tile) != OFF and not shown:
        raise UserError("--tile is for classes that are shown: name a support set by --support")
    if args.finetune and check_tile(args.tile) != OFF:
        raise UserError("--tile does not go with --finetune, which trains on whole images")
    if args.finetune and not args.support:
        raise UserError("--finetune trains on a support set: name one by --support")
    if args.copy_images and args.format in (None, LINES):
        raise UserError("--copy-images goes with a data set: name its format by --format")
    if args.save and not shown:
        raise UserError("--save keeps what was learnt from a support set: name one by --support")
    if args.marks and not shown:
        raise UserError("--marks says how a support set was marked: name one by --support")
    if args.every < 1:
        raise UserError(f"--every is at least 1, not {args.every}")
    if (args.track or args.every > 1) and not videos:
        raise UserError("--track and --every go with a video: name one by --images")
    if args.track:
        check_trackers()
    if args.format and videos:
        raise UserError("--format writes a data set of images; of a video the lines of JSON have everything that was found")


def _marks(words: Sequence[Sequence[str]]) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """What `--mark` shows: by class, images and boxes."""
    marks: dict[str, list[tuple[str, tuple[float, ...]]]] = {}
    for name, image, sides in words:
        try:
            box = tuple(map(float, sides.split(",")))
        except ValueError:
            raise UserError(f"--mark {name} {image} {sides}: a box is x1,y1,x2,y2 in pixels") from None
        marks.setdefault(name, []).append((image, box))
    return marks


def _learn(detector: Any, args: argparse.Namespace, marks: dict[str, list[tuple[str, tuple[float, ...]]]]) -> None:
    """Shows the detector what `--support` and `--mark` name, if anything."""
    if args.support:
        support = Path(args.support)
        if keeps_classes(support, args.marks):
            if args.finetune:
                raise UserError(f"--finetune needs the support images; {support} keeps what was learnt from them")
            detector.load(support)
        elif args.finetune:
            from repmet.detection.scoring.finetune import finetune_rule

            detector.learn(support, finetune=finetune_rule(detector.cfg.get("finetune")))
        else:
            detector.learn(support)
        for name, pairs in marks.items():
            detector.add(name, pairs)
    elif marks:
        detector.learn(marks)
    if args.support or marks:
        say(f"{counted(len(detector.classes), 'class')}: {', '.join(detector.classes)}")


def command_line(prog: str) -> argparse.ArgumentParser:
    """The command's options."""
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shipped = "a file, or a run folder for its last one (default: the weights that ship)"
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help=shipped)
    parser.add_argument("--support", metavar="DIR|FILE", help="what shows the classes, or what --save wrote")
    parser.add_argument(
        "--mark",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "IMAGE", "X1,Y1,X2,Y2"),
        help="show a class by one box of an image, or of a frame such as clip.mp4@12.4s; may come several times",
    )
    marks_option(parser)
    parser.add_argument("--finetune", action="store_true", help="train the detector on the support images first")
    parser.add_argument("--images", nargs="+", default=[], metavar="PATH", help="files, folders, videos, cameras (0)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of a video look at every N-th frame (default: 1)")
    parser.add_argument("--track", action="store_true", help="of a video: number each object from frame to frame")
    parser.add_argument("--save", metavar="FILE", help="keep the representatives for later calls of this checkpoint")
    parser.add_argument("--out", default="work_dirs/detect", metavar="DIR", help="where to write (work_dirs/detect)")
    parser.add_argument(
        "--format",
        choices=(*KINDS, LINES),
        help="a data set for another tool, or lines of JSON, in the place of results.json",
    )
    parser.add_argument("--copy-images", action="store_true", help="with --format: put a copy of the images beside it")
    parser.add_argument("--min-score", type=float, default=0.05, metavar="S", help="lowest score written (default: 0.05)")
    parser.add_argument(
        "--tile", default=OFF, metavar="auto|N|off", help="look at overlapping tiles too, for small objects (default: off)"
    )
    parser.add_argument("--unknown", action="store_true", help="with objects of no class that was shown")
    parser.add_argument("--pictures", type=int, metavar="N", help="draw the first N images alone (default: all)")
    parser.add_argument("--show", type=float, metavar="S", help="lowest score drawn (default: each class's own)")
    parser.add_argument("--batch-size", type=int, default=4, metavar="B", help="images of one size at once (default: 4)")
    return parser


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    args = command_line(prog).parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
