"""Pascal VOC: its classes, the splits of few-shot VOC, and the command that fetches it.

    python -m data.sources.voc --years 2007 2012 --root data     # download VOC, verify it, lay it out under data/VOCdevkit

The images of a set are read by `data.readers.devkit`, whose names are here too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from repmet.data.readers.devkit import CLASS_LISTS, VOC_CLASSES, ImageRecord, absent_classes, read_class_list, read_image_set
from repmet.data.sources.voc_archives import ARCHIVES, lay_out_voc
from repmet.errors import exit_code

__all__ = [
    "CLASS_LISTS",
    "NOVEL_SPLITS",
    "VOC_CLASSES",
    "ImageRecord",
    "absent_classes",
    "read_class_list",
    "read_image_set",
]

# The splits of few-shot VOC: these classes are novel, the other fifteen base.
NOVEL_SPLITS = {
    1: ("bird", "bus", "cow", "motorbike", "sofa"),
    2: ("aeroplane", "bottle", "cow", "horse", "sofa"),
    3: ("boat", "cat", "motorbike", "sheep", "sofa"),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Download Pascal VOC, verify it and lay it out under ROOT/VOCdevkit.")
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--years", nargs="+", choices=sorted(ARCHIVES), default=["2007"])
    parser.add_argument("--keep-archives", action="store_true", help="keep the .tar files after unpacking")
    arguments = parser.parse_args(argv)

    def command() -> None:
        devkit = lay_out_voc(arguments.root, arguments.years, keep_archives=arguments.keep_archives)
        print(f"{devkit}: VOC {', '.join(arguments.years)} complete")

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
