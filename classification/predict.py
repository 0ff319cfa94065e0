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
confusion are given as well. What was stopped goes on by the same command, and torchrun shares the images among processes.
Exit code: 0; 1 where images could not be read and the others were classified; 2 for an error.
"""

import argparse
import csv
import importlib.util
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from repmet.classification.learning_options import Opened, add_learning, in_torch, open_classifier
from repmet.classification.learnt_images import FORMAT
from repmet.classification.pictures.html_page import INDEX, PICTURES, check_page
from repmet.classification.pictures.predictions import PredictionPage
from repmet.classification.prediction import Prediction, csv_rows, from_line
from repmet.data.files.atomic import check_folder, write_text
from repmet.data.files.output_folder import output_folder
from repmet.data.files.torch_file import check_replaceable
from repmet.data.readers.image_inputs import ImageInput, image_inputs
from repmet.errors import UserError, exit_code
from repmet.experiments.running.allocator import keep_freed_memory
from repmet.experiments.running.processes import agreed, join, process_number, processes, say
from repmet.experiments.running.shared_images import UNFINISHED, SharedImages, asked
from repmet.wording import counted, on_a_line

PROG = "python -m classification.predict"
TABLE, ROWS = "predictions.csv", "predictions.json"


def run(args: argparse.Namespace, opened: Opened = in_torch) -> int:
    """The command: everything that may refuse comes before any image is looked at.

    Args:
        opened: as of `learning_options.open_classifier`.
    """
    join()
    images = list(image_inputs(args.images)) if args.images else []
    if not images and not args.save:
        raise UserError("nothing to do: name images by --images, or a file by --save")
    if args.several and (args.labelled or args.none_share is not None):
        raise UserError("--several goes with neither --labelled nor --none-share: those know a single class an image")
    if args.save and process_number() == 0:
        check_replaceable(args.save, [FORMAT])
    if images and process_number() == 0:
        check_page(check_folder(args.out), (TABLE, ROWS))
    classifier = open_classifier(args, opened)
    classifier.learnt = agreed(lambda: classifier.learnt)  # tuned in some seconds, it differs from process to process
    counts = np.bincount(classifier.learnt.labels).tolist()
    shown = ", ".join(f"{name} ({count})" for name, count in zip(classifier.classes, counts, strict=True))
    say(f"{counted(len(counts), 'class')}: {shown}")
    if args.save and process_number() == 0:
        classifier.save(args.save)
        print(f"written: {args.save}")
    if not images:
        return 0
    truth = [_true_class(image, classifier.classes) for image in images] if args.labelled else []
    out, mine = Path(args.out), []
    shared = SharedImages(images, out / UNFINISHED, asked(args, [args.encoder, args.support], out))
    if shared.mine:
        for prediction in classifier.predict(shared.mine, none_share=args.none_share, unreadable=mine):
            shared.add(prediction.image, prediction.line())
    if not shared.finish(mine):
        return 0
    unreadable = shared.problems()
    with output_folder(out, renewed=PICTURES) as aside:
        page, predictions = PredictionPage(aside), []
        for _, image, values in shared.entries():
            prediction = from_line(image, values, classifier.learnt)
            predictions.append(prediction)
            page.add(prediction)
            print(f"{on_a_line(prediction.image.name)}: {_said(prediction)}")
        lines, pictures = _judged(predictions, dict(zip(images, truth, strict=False)), aside) if args.labelled else ([], [])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(csv_rows(predictions))
        write_text(aside / TABLE, text.getvalue())
        write_text(aside / ROWS, json.dumps([p.row() for p in predictions], indent=1, ensure_ascii=False) + "\n")
        page.write("Predictions", lines, pictures)
    for line in unreadable:
        print(f"passed over: {on_a_line(line)}", file=sys.stderr)
    for line in lines:
        print(line)
    print(f"written: {out / TABLE}, {counted(len(predictions), 'image')}; look at {out / INDEX}")
    shared.remove()
    return 1 if unreadable and processes() == 1 else 0  # torchrun takes every other code for a death


def _said(prediction: Prediction) -> str:
    if prediction.none:
        return f"none of the classes (strangeness {prediction.strangeness:.2f})"
    top = ", ".join(f"{name} {p:.2f}" for name, p in prediction.top(max(3, len(prediction.names))))
    return top if prediction.names else f"none of the classes ({top})"


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
    known = [(p, truth[p.image]) for p in predictions if truth[p.image]]
    others = [p for p in predictions if not truth[p.image]]
    lines, pictures = [], []
    if known:
        classes = known[0][0].classes
        right = sum(p.name == name for p, name in known)
        refused = sum(p.none for p, _ in known)
        lines.append(f"right: {right} of {counted(len(known), 'image')} of the classes, {100 * right / len(known):.1f} %")
        lines += [f"of them called none of the classes: {refused}"] if refused else []
        if importlib.util.find_spec("torch"):  # which the picture is made by, where an exported classifier needs none
            _draw_confusion(known, classes, out / "confusion.png")
            pictures.append(("confusion.png", "What was taken for what"))
    if others:
        lines.append(f"images of other folders: {len(others)}, called none of the classes: {sum(p.none for p in others)}")
    return lines, pictures


def _draw_confusion(known: Sequence[tuple[Prediction, str]], classes: Sequence[str], file: Path) -> None:
    import torch

    from repmet.classification.pictures.pictures import confusion_plot  # imports matplotlib

    counts = torch.zeros(len(classes), len(classes), dtype=torch.long)
    for p, name in known:
        counts[classes.index(name), int(p.probabilities.argmax())] += 1
    confusion_plot(file, counts, classes)


def command_line(prog: str) -> argparse.ArgumentParser:
    """The command's options."""
    description = __doc__.replace(PROG, prog)
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_learning(parser)
    parser.add_argument("--images", nargs="+", default=[], metavar="PATH", help="files, folders, patterns, addresses")
    parser.add_argument(
        "--none-share",
        type=float,
        metavar="S",
        help="call images unlike all classes none of them, and so about this share of the classes' own, such as 0.05",
    )
    parser.add_argument(
        "--several",
        action="store_true",
        help="an image may be of several classes: in the CSV file a line for each of them; every class from 1/2 on is said",
    )
    parser.add_argument("--labelled", action="store_true", help="the images' folders are named for their true classes")
    parser.add_argument("--save", metavar="FILE", help="keep the classes for later calls with this encoder")
    parser.add_argument("--out", default="work_dirs/classify", metavar="DIR", help="where to write (work_dirs/classify)")
    return parser


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    keep_freed_memory()
    args = command_line(prog).parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
