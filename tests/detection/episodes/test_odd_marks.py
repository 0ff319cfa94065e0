"""Marks that teach little are said, in one line for each kind, and learnt from all the same."""

import logging

import numpy as np
import pytest
from PIL import Image

from repmet.data.sources.voc import ImageRecord
from repmet.detection.episodes.marked_images import read_marks
from repmet.detection.episodes.odd_marks import odd_marks


def record(*marks: tuple[str, tuple[float, ...]], difficult: bool = False) -> ImageRecord:
    names, boxes = zip(*marks, strict=True)
    return ImageRecord("a.png", "a.png", 100, 80, names, np.array(boxes, np.float32), np.full(len(names), difficult))


ODD = {
    "the box is the whole image": [("nut", (0, 0, 100, 80))],
    "less than 6 pixels wide or high": [("nut", (20, 20, 23, 60))],
    "one box is marked as two classes": [("nut", (10, 10, 50, 50)), ("bolt", (10, 10, 50.5, 50))],
}


@pytest.mark.parametrize("said", ODD)
def test_each_kind_is_told_with_its_place(said) -> None:
    ((text, places),) = odd_marks([record(*ODD[said])]).items()
    assert said in text and places[0] in ("nut in a.png", "nut and bolt in a.png")
    assert not odd_marks([record(*ODD[said], difficult=True)])


def test_what_is_plain_is_not_odd() -> None:
    twice = record(
        ("nut", (10, 10, 50, 50)), ("nut", (10, 10, 50, 50)), ("bolt", (60, 60, 66, 66)), ("bolt", (0, 0, 95, 79))
    )
    assert not odd_marks([twice])


def test_it_is_said_when_classes_are_learnt_once_with_a_count(caplog) -> None:
    image = Image.fromarray(np.zeros((80, 100, 3), np.uint8))
    with caplog.at_level(logging.WARNING):
        read_marks({"nut": [(image, (0, 0, 100, 80)), (image, (1, 1, 99, 80)), (image, (5, 5, 30, 30))]})
    assert [r.getMessage() for r in caplog.records] == [
        "nut in support image 1, and 1 more: the box is the whole image, so nothing tells what the class is not"
    ]
