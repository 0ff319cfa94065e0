"""`repmet label`: the command of `detection.label`, by the exported detector where one serves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from repmet.detect import CHOICES, opened
from repmet.detection import label
from repmet.errors import exit_code


def main(argv: Sequence[str] | None = None, prog: str = label.PROG) -> int:
    parser = label.command_line(prog)
    parser.set_defaults(finetune=False, mark=())  # options of detect alone
    parser.add_argument("--runtime", choices=CHOICES, default="auto", help="what computes, as for detect (default: auto)")

    def run(args: argparse.Namespace) -> int:
        inputs = label.checked(args)
        return label.run(args, inputs, opened(args))

    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
