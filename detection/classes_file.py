"""Files of classes that a detector has learnt: what their formats are called, and whether one may be written."""

from pathlib import Path

from repmet.data.files import torch_file

FORMAT = "repmet-classes-2"
FIRST_FORMAT = "repmet-representatives-1"  # RepMet's representatives alone, with their rule beside them


def check_replaceable(path: str | Path) -> None:
    """As `torch_file.check_replaceable`, of these files."""
    torch_file.check_replaceable(path, (FORMAT, FIRST_FORMAT))
