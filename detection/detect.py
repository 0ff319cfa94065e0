"""Find objects in your own images: of classes that you show it, without any training, or of those it was trained on.

    python -m detection.detect work_dirs/demo --support my_support --images my_photos --out found
    python -m detection.detect work_dirs/demo --support my_support --images my_photos --save my_classes.pth
    python -m detection.detect work_dirs/demo --support my_classes.pth --images another.jpg
    python -m detection.detect work_dirs/demo --support my_support --images my_photos --finetune
    python -m detection.detect work_dirs/demo --images my_photos

A support set is a folder of images with VOC XML files, a COCO JSON file or YOLO's data.yaml, or crops of objects sorted into
a folder for each class. Writes `results.json` (COCO's format of results), `images.json` (the images and categories that its
numbers mean) and `pictures/`: boxes with class and score, and below them the support that each resembles most.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from repmet.data.files.atomic import write_text
from repmet.detection.episodes.support_set import images_to_look_at
from repmet.detection.few_shot_detector import FewShotDetector, Found
from repmet.detection.pictures.found import found_picture
from repmet.detection.scoring.finetune import finetune_rule

PROG = "python -m detection.detect"


def coco_results(found: Iterable[tuple[Path, Found]], classes: Sequence[str], sizes: dict[Path, tuple[int, int]]) -> tuple:
    """COCO's list of results and the `images` and `categories` that it speaks of; numbers from 1.

    Args:
        found: as `FewShotDetector.detect` gives it.
        sizes: width and height by path; every image is listed, also one in which nothing was found.
    """
    numbers = {path: number for number, path in enumerate(sizes, start=1)}
    images = [
        {"id": numbers[path], "file_name": str(path), "width": width, "height": height}
        for path, (width, height) in sizes.items()
    ]
    results = []
    for path, one in found:
        for label, score, (x1, y1, x2, y2) in zip(one.labels, one.scores, one.boxes, strict=True):
            box = [round(float(side), 2) for side in (x1, y1, x2 - x1, y2 - y1)]
            results.append({"image_id": numbers[path], "category_id": int(label) + 1, "bbox": box, "score": float(score)})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return results, {"images": images, "categories": categories}


def run(args: argparse.Namespace) -> None:
    """The command: everything that may refuse comes before any image is looked at."""
    records = images_to_look_at(args.images) if args.images else []
    if not records and not args.save:
        raise ValueError("nothing to do: name images by --images, or a file by --save")
    if args.finetune and not args.support:
        raise ValueError("--finetune trains on a support set: name one by --support")
    if args.save and not args.support:
        raise ValueError("--save keeps what was learnt from a support set: name one by --support")
    detector = FewShotDetector(args.checkpoint, batch_size=args.batch_size)
    if args.support:
        given = Path(args.support)
        if given.is_file() and given.suffix.lower() not in (".json", ".yaml", ".yml"):
            if args.finetune:
                raise ValueError(f"--finetune needs the support images; {given} keeps what was learnt from them")
            detector.load(given)
        else:
            detector.learn(given, finetune=finetune_rule(detector.cfg.get("finetune")) if args.finetune else None)
        print(f"{len(detector.classes)} classes: {', '.join(detector.classes)}")
    if args.save:
        detector.save(args.save)
        print(f"written: {args.save}")
    if not records:
        return
    out, found = Path(args.out), []
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    looks = detector.look_at(records, min_score=args.min_score)
    shown = track(looks, "looking", total=len(records), console=Console(stderr=True))
    for number, (path, one) in enumerate(shown):
        found.append((path, one))
        crops = detector.learnt.crops.numpy() if detector.learnt else None
        picture = found_picture(path, one, detector.classes, crops, min_score=max(args.min_score, args.show))
        picture.save(out / "pictures" / f"{number:05d}_{path.stem}.png")
    results, listing = coco_results(found, detector.classes, {r.path: (r.width, r.height) for r in records})
    write_text(out / "results.json", json.dumps(results) + "\n")
    write_text(out / "images.json", json.dumps(listing, indent=1) + "\n")
    for path, one in found:
        best = [f"{detector.classes[k]} {s:.2f}" for k, s in zip(one.labels, one.scores, strict=True) if s >= args.show]
        print(f"{path}: {', '.join(best[:8]) or 'nothing'}" + (f" and {len(best) - 8} more" if len(best) > 8 else ""))
    count = int(np.sum([len(one.labels) for _, one in found]))
    print(f"written: {out / 'results.json'}, {count} boxes in {len(records)} images; look at {out / 'pictures'}")


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, or a run folder for its last one")
    parser.add_argument("--support", metavar="DIR|FILE", help="what shows the classes, or what --save wrote")
    parser.add_argument("--finetune", action="store_true", help="train the detector on the support images first")
    parser.add_argument("--images", nargs="+", default=[], metavar="PATH", help="files, and folders of images")
    parser.add_argument("--save", metavar="FILE", help="keep the representatives for later calls of this checkpoint")
    parser.add_argument("--out", default="work_dirs/detect", metavar="DIR", help="where to write (work_dirs/detect)")
    parser.add_argument("--min-score", type=float, default=0.05, metavar="S", help="lowest score written (default: 0.05)")
    parser.add_argument("--show", type=float, default=0.3, metavar="S", help="lowest score drawn (default: 0.3)")
    parser.add_argument("--batch-size", type=int, default=4, metavar="B", help="images of one size at once (default: 4)")
    args = parser.parse_args(argv)
    try:
        if not 0 <= args.min_score <= 1 or not 0 <= args.show <= 1 or args.batch_size < 1:
            raise ValueError("--min-score and --show are in [0, 1], --batch-size is at least 1")
        run(args)
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
