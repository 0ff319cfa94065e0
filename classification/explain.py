"""What a set of labelled images confuses, and which of its labels may be wrong; each image is judged by the others.

    python -m classification.explain --support my_classes
    python -m classification.explain resnet18 --support labels.csv --tune --out explained
    python -m classification.explain --support classes.pth

A set is what `classify` takes: a folder of class folders, a CSV file, or what its --save wrote. Every image is looked at by
representatives that were made without it. Prints the accuracy, the most confused pairs of classes and the images that look
more like another class, and writes `index.html` with the confusion matrix, `mislabelled.csv` and `explain.json`. Exit code:
0; 2 for an error.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence

from repmet.classification.confusions import Confusions, confusions
from repmet.classification.learning_options import add_learning, open_classifier
from repmet.classification.pictures.confusions import write_page
from repmet.classification.pictures.html_page import INDEX, PICTURES, check_page
from repmet.data.files.atomic import check_folder, write_text
from repmet.data.files.output_folder import output_folder
from repmet.errors import UserError, exit_code
from repmet.experiments.running.allocator import keep_freed_memory
from repmet.wording import counted, on_a_line

PROG = "python -m classification.explain"
TABLE, JSON = "mislabelled.csv", "explain.json"
PRINTED = 10  # pairs, and images


def run(args: argparse.Namespace) -> int:
    out = check_folder(args.out)
    check_page(out, (TABLE, JSON))
    learnt = open_classifier(args).learnt
    if learnt is not None and learnt.several:
        raise UserError(f"{args.support}: its images may be of several classes; confusions are told where each is of one")
    if learnt is None or not learnt.held_out or len(learnt.classes) < 2:
        raise UserError(f"{args.support}: nothing can be confused: two classes are needed, and a class of two images")
    result = confusions(learnt)
    lines = said(result)
    for line in lines:
        print(on_a_line(line))
    text = io.StringIO()
    rows = [(s.name, s.label, s.looks_like, round(s.probability, 6), s.beside.name) for s in result.suspects]
    csv.writer(text, lineterminator="\n").writerows([("image", "class", "looks_like", "p(class)", "nearest"), *rows])
    with output_folder(out, renewed=PICTURES) as aside:
        write_text(aside / TABLE, text.getvalue())
        write_text(aside / JSON, json.dumps(result.as_json(), indent=1, ensure_ascii=False) + "\n")
        write_page(aside, result, lines[:1])
    print(f"written: {out / TABLE}, {out / JSON}; look at {out / INDEX}")
    return 0


def said(result: Confusions) -> list[str]:
    """The accuracy, the most confused pairs and the images most unlike their class."""
    number, right = result.number, int(result.counts.diagonal().sum())
    lines = [f"right, each by the others: {right} of {counted(number, 'image')}, {100 * right / number:.1f} %"]
    if result.alone:
        lines.append(f"alone in their class, and not judged: {counted(result.alone, 'image')}")
    for true, other, times in result.pairs[:PRINTED]:
        lines.append(f"{result.classes[true]} taken for {result.classes[other]}: {times}")
    for suspect in result.suspects[:PRINTED]:
        lines.append(
            f"{suspect.name}: {suspect.label} {suspect.probability:.2f}, looks like {suspect.looks_like} "
            f"{suspect.other_probability:.2f}"
        )
    if len(result.suspects) > PRINTED:
        lines.append(f"and {len(result.suspects) - PRINTED} more images that look like another class")
    return lines


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    keep_freed_memory()
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__.replace(PROG, prog), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_learning(parser)
    parser.add_argument("--out", default="work_dirs/explain", metavar="DIR", help="where to write (work_dirs/explain)")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
