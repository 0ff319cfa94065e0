"""Spend minutes on your marks: choose how classes are fitted, and learn where the things' edges are, on kept features.

    python -m detection.tune --support my_support --out my_classes.pth
    python -m detection.tune work_dirs/photos --support my_support --out my_classes.pth --seconds 60

Settings are tried by leaving marked images out in turn, and kept where these are found better. What is written is never
worse by this estimate than what `detect --save` writes; `repmet detect --support my_classes.pth` takes it.
"""

import argparse
import sys
from collections.abc import Sequence

from repmet.detection.classes_file import check_replaceable
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.scoring.tuning import SECONDS
from repmet.detection.support_parser import support_parser
from repmet.errors import UserError, exit_code
from repmet.wording import counted

PROG = "python -m detection.tune"


def run(args: argparse.Namespace) -> None:
    if not args.seconds > 0:
        raise UserError(f"--seconds is above 0, not {args.seconds:g}")
    check_replaceable(args.out)
    detector = FewShotDetector(args.checkpoint, marks=args.marks)
    result = detector.tune(args.support, seconds=args.seconds)
    detector.save(args.out)
    print(f"{counted(len(detector.classes), 'class')}: {', '.join(detector.classes)}")
    if result.before is None:
        print("nothing could be left out: mark objects of a class in a second image; it is learnt as without tuning")
    else:
        print(f"AP50 to expect on images of the kind: {100 * result.before:.0f} % untuned, {100 * result.after:.0f} % tuned")
        print(f"{counted(result.tried, 'setting')} tried; {_said(result.changes)}")
    print(f"written: {args.out}")


def _said(changes: Sequence[str]) -> str:
    return "kept: " + "; ".join(changes) if changes else "none is surely better, so all stays as it was"


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = support_parser(prog, __doc__.replace(PROG, prog))
    parser.add_argument("--out", required=True, metavar="FILE", help="where to keep what was learnt")
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S", help="try no further setting after (180)")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
