"""Say what your own images show, in classes that you show by a few images each; nothing is trained.

    python -m classification.predict --support my_classes --images my_photos
    python -m classification.predict --support my_classes --images a.jpg b.jpg --none-share 0.05
    python -m classification.predict resnet18 --support my_classes --images my_photos --modes 3
    python -m classification.predict work_dirs/image_folder --support labels.csv --images 'photos/*.jpg' --save classes.pth
    python -m classification.predict --support classes.pth --images https://example.org/a.jpg
    python -m classification.predict --support my_classes --images my_photos --tune

A support set is a folder with a folder of images for each class, or a CSV file with the columns image and class. Prints a
line for each image and writes `predictions.csv`, `predictions.json` (classes, probabilities, nearest support images) and
`index.html`, a page of them. With --labelled the images lie in folders named for their true classes, and accuracy and
confusion are given as well. Exit code: 0; 1 where images could not be read and the others were classified; 2 for an error.
"""

import argparse
import csv
import io
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.learnt_images import read_classes
from repmet.classification.pictures.predictions import PredictionPage
from repmet.classification.prediction import Prediction, csv_rows
from repmet.classification.tuning import estimate
from repmet.data.files.atomic import write_text
from repmet.data.readers.image_inputs import ImageInput, image_inputs
from repmet.errors import UserError, exit_code
from repmet.experiments.running.allocator import keep_freed_memory
from repmet.wording import counted

PROG = "python -m classification.predict"


def run(args: argparse.Namespace) -> int:
    """The command: everything that may refuse comes before any image is looked at."""
    images = image_inputs(args.images) if args.images else []
    if not images and not args.save:
        raise UserError("nothing to do: name images by --images, or a file by --save")
    classifier = _classifier(args)
    if args.tune is not None:
        _tune(classifier, args.tune)
    counts = torch.bincount(classifier.learnt.labels).tolist()
    shown = ", ".join(f"{name} ({count})" for name, count in zip(classifier.classes, counts, strict=True))
    print(f"{counted(len(counts), 'class')}: {shown}")
    if args.save:
        classifier.save(args.save)
        print(f"written: {args.save}")
    if not images:
        return 0
    truth = [_true_class(image, classifier.classes) for image in images] if args.labelled else []
    out, unreadable = Path(args.out), []
    page, predictions = PredictionPage(out), []
    for prediction in classifier.predict(images, none_share=args.none_share, unreadable=unreadable):
        predictions.append(prediction)
        page.add(prediction)
        print(f"{prediction.image.name}: {_said(prediction)}")
    lines, pictures = _judged(predictions, dict(zip(images, truth, strict=False)), out) if args.labelled else ([], [])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(csv_rows(predictions))
    write_text(out / "predictions.csv", text.getvalue())
    write_text(out / "predictions.json", json.dumps([p.row() for p in predictions], indent=1, ensure_ascii=False) + "\n")
    page.write("Predictions", lines, pictures)
    for line in unreadable:
        print(f"passed over: {line}", file=sys.stderr)
    for line in lines:
        print(line)
    print(f"written: {out / 'predictions.csv'}, {counted(len(predictions), 'image')}; look at {out / 'index.html'}")
    return 1 if unreadable else 0


def _classifier(args: argparse.Namespace) -> FewShotClassifier:
    support = Path(args.support).expanduser()
    if support.is_file() and support.suffix.lower() != ".csv":
        if args.modes is not None:
            raise UserError(f"--modes says how classes are learnt; those of {support} are learnt already")
        source, size = args.encoder, args.size
        if source is None:
            _, encoder = read_classes(support)
            source, size = encoder["source"], size or encoder["size"][0]
        return FewShotClassifier(source, size=size, batch_size=args.batch_size).load(support)
    modes = 1 if args.modes is None else args.modes
    classifier = FewShotClassifier(args.encoder, modes=modes, size=args.size, batch_size=args.batch_size)
    return classifier.learn(support)


def _tune(classifier: FewShotClassifier, seconds: float) -> None:
    """Trains, and says by which images it is better for it."""
    start, before = time.monotonic(), estimate(classifier.learnt)
    after = estimate(classifier.tune(seconds).learnt)
    if before is None or after is None:
        print("not tuned: no class has two images, and so none to leave out")
        return
    took = time.monotonic() - start
    right, loss = ([getattr(e, key) for e in (before, after)] for key in ("accuracy", "loss"))
    print(
        f"tuned in {took:.0f} s, by {counted(after.number, 'image')} that were left out in turn: "
        f"right {100 * right[0]:.1f} -> {100 * right[1]:.1f} %, -ln p {loss[0]:.2f} -> {loss[1]:.2f}"
    )


def _said(prediction: Prediction) -> str:
    if prediction.none:
        return f"none of the classes (strangeness {prediction.strangeness:.2f})"
    return ", ".join(f"{name} {p:.2f}" for name, p in prediction.top(3))


def _true_class(image: ImageInput, classes: Sequence[str]) -> str:
    """The class for which a folder above the image is named, the nearest one; `` where none of the classes is."""
    if image.path is None:
        raise UserError(f"--labelled takes files in folders named for their classes, not {image.name}")
    folders = [part for part in image.path.absolute().parts[-2::-1] if part in classes]
    return folders[0] if folders else ""


def _judged(
    predictions: Sequence[Prediction], truth: dict[ImageInput, str], out: Path
) -> tuple[list[str], list[tuple[str, str]]]:
    """Lines about the accuracy, and the confusion matrix as a picture."""
    from repmet.classification.pictures.pictures import confusion_plot  # imports matplotlib

    known = [(p, truth[p.image]) for p in predictions if truth[p.image]]
    others = [p for p in predictions if not truth[p.image]]
    lines, pictures = [], []
    if known:
        classes = known[0][0].classes
        right = sum(p.name == name for p, name in known)
        refused = sum(p.none for p, _ in known)
        lines.append(f"right: {right} of {counted(len(known), 'image')} of the classes, {100 * right / len(known):.1f} %")
        lines += [f"of them called none of the classes: {refused}"] if refused else []
        counts = torch.zeros(len(classes), len(classes), dtype=torch.long)
        for p, name in known:
            counts[classes.index(name), int(p.probabilities.argmax())] += 1
        confusion_plot(out / "confusion.png", counts, classes)
        pictures.append(("confusion.png", "What was taken for what"))
    if others:
        lines.append(f"images of other folders: {len(others)}, called none of the classes: {sum(p.none for p in others)}")
    return lines, pictures


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return seconds


def _modes(text: str) -> int | str:
    if text == "all":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1, or all, not {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    keep_freed_memory()
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "encoder",
        nargs="?",
        metavar="ENCODER",
        help="a checkpoint of the classification tree (file, run folder or address), or the name of a model of torchvision "
        "or timm (default: a frozen EfficientNet-Lite0 with ImageNet weights)",
    )
    parser.add_argument("--support", required=True, metavar="DIR|FILE", help="what shows the classes, or what --save wrote")
    parser.add_argument("--images", nargs="+", default=[], metavar="PATH", help="files, folders, patterns, addresses")
    parser.add_argument(
        "--modes",
        type=_modes,
        metavar="K|all",
        help="representatives of a class: 1, the mean (default); K, by k-means; all, each image",
    )
    parser.add_argument(
        "--none-share",
        type=float,
        metavar="S",
        help="call images unlike all classes none of them, and so about this share of the classes' own, such as 0.05",
    )
    parser.add_argument(
        "--tune",
        type=_seconds,
        nargs="?",
        const=60.0,
        metavar="SECONDS",
        help="train on the support images' embeddings, a minute at most or so many seconds, as far as images that are left "
        "out are the better told apart for it",
    )
    parser.add_argument("--labelled", action="store_true", help="the images' folders are named for their true classes")
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="side that images are brought to (default: as the encoder)"
    )
    parser.add_argument("--save", metavar="FILE", help="keep the classes for later calls with this encoder")
    parser.add_argument("--out", default="work_dirs/classify", metavar="DIR", help="where to write (work_dirs/classify)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="B", help="images at once (default: 32)")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
