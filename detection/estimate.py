"""Will it work on my photos? Precision and recall to expect, from the marked images alone; and what to mark next.

    python -m detection.estimate --support my_support
    python -m detection.estimate --support my_support --images my_photos

Every marked image is left out in turn and searched by what the others teach. Prints precision and recall of each class with
intervals of 90 %, F1 by the number of marked images, and with --images the unmarked ones that are worth most to be marked.
"""

import argparse
import sys
from collections.abc import Sequence

from repmet.detection.examining import advice
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.support_parser import support_parser
from repmet.errors import UserError, exit_code
from repmet.wording import on_a_line

PROG = "python -m detection.estimate"


def run(args: argparse.Namespace) -> None:
    if args.count < 1:
        raise UserError("--count is at least 1")
    detector = FewShotDetector(args.checkpoint, marks=args.marks).learn(args.support)
    rows = detector.estimate()
    width = max(10, *(len(name) for name in rows))
    print(f"{'':<{width}}  {'precision':<22}{'recall':<22}F1")
    for name, row in rows.items():
        print(f"{name:<{width}}  {row.precision!s:<22}{row.recall!s:<22}{100 * row.f1:.0f} %")
    curve = detector.learning_curve()
    print("F1 by images that teach: " + ", ".join(f"{size}: {100 * value:.0f} %" for size, value in curve))
    print(advice(curve))
    print("This holds for images of the kind that was marked; in images without any object there are only mistakes to make.")
    if args.images:
        print("mark next:")
        for image in detector.mark_next(args.images, args.count):
            print(f"  {on_a_line(image.name)}")


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = support_parser(prog, __doc__.replace(PROG, prog))
    parser.add_argument("--images", nargs="+", default=[], metavar="PATH", help="unmarked images: which to mark next")
    parser.add_argument("--count", type=int, default=5, metavar="N", help="how many to name (default: 5)")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
