"""Look at the supports themselves: boxes that nothing reaches, odd ones out, the same thing under two names.

    python -m detection.check --support my_support
    python -m detection.check work_dirs/demo --support my_support --out checked

Prints a line for each problem and writes `check.png`, a page of the boxes that have one. Without a problem it says so.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from repmet.data.files.atomic import check_folder
from repmet.data.files.output_folder import check_output, output_folder
from repmet.data.files.saved_pictures import save_picture
from repmet.detection.episodes.open_image import picture
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.pictures.problems import problem_page
from repmet.detection.support_parser import support_parser
from repmet.errors import exit_code
from repmet.wording import counted, on_a_line

PROG = "python -m detection.check"
PAGE = "check.png"


def run(args: argparse.Namespace) -> int:
    """The command; 1 where something is amiss."""
    check_output(check_folder(args.out), [PAGE])
    detector = FewShotDetector(args.checkpoint, marks=args.marks).learn(args.support)
    problems = detector.check()
    supports = counted(len(detector.learnt.boxes.unique()), "support")
    if not problems:
        print(f"{supports} of {counted(len(detector.classes), 'class')}: nothing is amiss")
        return 0
    for problem in problems:
        place = f"{problem.image}, box {', '.join(f'{side:.0f}' for side in problem.box)}: " if problem.box else ""
        print(on_a_line(f"{problem.name}: {place}{problem.said}"))
    records = detector.supports.records
    crops = [(p, picture(records[p.image])) for p in problems if p.image is not None]
    if crops:
        with output_folder(args.out) as aside:
            save_picture(problem_page(crops), aside / PAGE)
        print(f"written: {Path(args.out) / PAGE}")
    print(f"{counted(len(problems), 'problem')} in {supports}")
    return 1


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    parser = support_parser(prog, __doc__.replace(PROG, prog))
    parser.add_argument("--out", default="work_dirs/check", metavar="DIR", help="where to write (work_dirs/check)")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
