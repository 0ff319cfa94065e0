"""Marks that are there twice, as in files that were put together: one box of one class in an image counts once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from repmet.data.files.walk import say_once
from repmet.data.sources.voc import ImageRecord
from repmet.wording import counted

SAME = 0.5  # pixels: formats round the sides of one box differently

Record = TypeVar("Record", bound=ImageRecord)


def each_mark_once(records: Sequence[Record], where: object) -> list[Record]:
    """The records without marks that come again; one line says how many there are, and where the first.

    Two supports of one box would teach as two objects that look alike, and the scores would be too sure.

    Args:
        where: the folder or file that the marks are of.
    """
    kept, doubled = [], []
    for record in records:
        first = _first(record)
        doubled += [record.id] * (len(record.names) - len(first))
        names = tuple(record.names[i] for i in first)
        kept.append(replace(record, names=names, boxes=record.boxes[first], difficult=record.difficult[first]))
    if doubled:
        marks = "1 mark is" if len(doubled) == 1 else f"{counted(len(doubled), 'mark')} are"
        say_once(f"{where}: {marks} there twice, the same box and class, the first in {doubled[0]}; each box counts once")
    return kept


def _first(record: ImageRecord) -> list[int]:
    """Indices of the marks that are no copy of one before."""
    first: list[int] = []
    for i, (name, hard) in enumerate(zip(record.names, record.difficult, strict=True)):
        alike = [j for j in first if record.names[j] == name and record.difficult[j] == hard]
        if not alike or np.abs(record.boxes[alike] - record.boxes[i]).max(1).min() >= SAME:  # (A, 4)
            first.append(i)
    return first
