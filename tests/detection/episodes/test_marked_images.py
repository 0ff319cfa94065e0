"""Supports marked from Python: every kind of image, boxes as they were given, and one clear line for what is wrong."""

import numpy as np
import pytest
import torch
from PIL import Image

from repmet.detection.episodes.marked_images import read_marks
from repmet.detection.episodes.open_image import picture


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 255, (80, 120, 3), np.uint8)).save(path)
    return path


def test_an_image_is_one_record_however_often_it_comes(photo) -> None:
    array = np.asarray(Image.open(photo))
    other = array[::-1].copy()
    records = read_marks(
        {
            "nut": [(photo, (10, 20, 60, 70)), (array, [1, 2, 3, 4]), (str(photo), np.array([5.5, 6, 50, 60]))],
            "bolt": [(other, (0, 0, 10, 10)), (photo, torch.tensor([7.0, 8, 9, 10])), (array, (2, 2, 9, 9))],
        }
    )
    assert [r.names for r in records] == [("nut", "nut", "bolt"), ("nut", "bolt"), ("bolt",)]
    np.testing.assert_array_equal(records[0].boxes, [[10, 20, 60, 70], [5.5, 6, 50, 60], [7, 8, 9, 10]])
    assert len({r.id for r in records}) == 3 and records[0].id == str(photo)
    for record, pixels in zip(records, (array, array, other), strict=True):
        assert (record.width, record.height) == (120, 80) and not record.difficult.any()
        np.testing.assert_array_equal(record.pixels, pixels)
        np.testing.assert_array_equal(np.asarray(picture(record)), pixels)


@pytest.mark.parametrize("kind", ["pil", "tensor", "floats"])
def test_pictures_and_tensors(photo, kind) -> None:
    shown = Image.open(photo).convert("RGB")
    tensor = torch.from_numpy(np.array(shown)).permute(2, 0, 1)
    image = {"pil": shown, "tensor": tensor, "floats": tensor / 255}[kind]
    (record,) = read_marks({"nut": [(image, (1, 2, 30, 40))]})
    np.testing.assert_array_equal(record.pixels, np.asarray(shown))


def test_a_box_that_sticks_out_a_little_is_clipped(photo) -> None:
    (record,) = read_marks({"nut": [(photo, (-1, -0.5, 121, 80.9))]})
    assert record.boxes.tolist() == [[0, 0, 120, 80]]


WRONG_BOXES = {
    (50, 20, 10, 70): "nut: box (50, 20, 10, 70) of {photo} ends before it begins",
    (10, 20, 10, 70): "ends before it begins",
    (10, 20, 160, 70): "lies outside the image of 120x80",
    (0.1, 0.2, 0.5, 0.6): "looks like shares of the image; boxes are in pixels",
    (1, 2, 3): "nut: support 2: a box is four numbers x1, y1, x2, y2 in pixels, not (1, 2, 3)",
    (1, 2, 3, "4"): "a box is four numbers",
    (1, 2, 3, float("nan")): "a box is four numbers",
    None: "a box is four numbers",
}


@pytest.mark.parametrize("box", WRONG_BOXES)
def test_a_box_that_cannot_be_is_named(photo, box) -> None:
    with pytest.raises(ValueError) as caught:
        read_marks({"nut": [(photo, (1, 2, 30, 40)), (photo, box)]})
    assert WRONG_BOXES[box].format(photo=photo) in str(caught.value)


def test_what_is_no_support_is_said(photo, tmp_path) -> None:
    box = (1, 2, 30, 40)
    (tmp_path / "text.png").write_text("no picture")
    for marks, message in (
        ({}, "no class is shown"),
        ({"nut": []}, "nut: no support is given"),
        ({" ": [(photo, box)]}, "class ' ' is no name"),
        ({3: [(photo, box)]}, "class 3 is of type int; a class's name is text"),
        ({"nut": [photo]}, "nut: support 1 is not a pair"),
        ({"nut": [(photo.parent, box)]}, "a pair holds one image"),
        ({"nut": [(tmp_path / "text.png", box)]}, "text.png: cannot be read as an image"),
    ):
        with pytest.raises(ValueError, match=message):
            read_marks(marks)
    with pytest.raises(FileNotFoundError, match=r"gone\.png: no such image"):
        read_marks({"nut": [(tmp_path / "gone.png", box)]})
    with pytest.raises(TypeError, match=r"a folder, a file or \{class: \[\(image, box\), \.\.\.\]\}, not list"):
        read_marks([(photo, box)])
    with pytest.raises(TypeError, match="not int"):
        read_marks({"nut": [(7, box)]})
