"""The options that commands about a support set have in common, and what they name."""

import argparse
from pathlib import Path

from repmet.data.files.pictures import is_image_file
from repmet.detection.scoring.training_rows import MARKS
from repmet.errors import UserError


def support_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser that takes a checkpoint, by default the weights that ship, and the folder that shows the classes."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="default: the weights that ship")
    parser.add_argument("--support", required=True, metavar="DIR", help="annotated images, or crops in class folders")
    marks_option(parser)
    return parser


def marks_option(parser: argparse.ArgumentParser) -> None:
    """`--marks`: whether a support image may hold objects of the classes that nobody has marked."""
    parser.add_argument(
        "--marks",
        choices=MARKS,
        help="are all objects of the classes in a support image marked? (default: partial, others may be there)",
    )


def keeps_classes(support: Path, marks: str | None) -> bool:
    """Whether `--support` names a file of learnt classes, and no images that show them.

    Raises:
        ValueError: it does, and `--marks` says how images were marked.
    """
    annotated = support.suffix.lower() in (".json", ".yaml", ".yml") or is_image_file(support)
    if annotated or not support.is_file():
        return False
    if marks:
        raise UserError(f"--marks is for support images; {support} keeps what was learnt from them")
    return True
