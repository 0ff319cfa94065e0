"""Images on their way to a detector: in their order, of one size together, and what cannot be read costs itself alone."""

import threading

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.looking import AHEAD, looked_at, runs_of_one_size
from repmet.errors import UserError

SIZES = [(8, 6), (8, 6), (8, 6), (6, 8), (8, 6), (8, 6)]


@pytest.fixture
def pictures() -> list[Image.Image]:
    return [Image.new("RGB", size, (k, k, k)) for k, size in enumerate(SIZES)]


@pytest.mark.parametrize(("together", "lengths"), [(1, [1] * 6), (2, [2, 1, 1, 2]), (8, [3, 1, 2])])
def test_runs_are_of_one_size_and_in_order(pictures, together, lengths) -> None:
    runs = list(runs_of_one_size(image_inputs(pictures), together))
    assert [len(run) for run in runs] == lengths
    records = [record for run in runs for _, record in run]
    assert [int(record.pixels[0, 0, 0]) for record in records] == list(range(6))
    assert [(record.width, record.height) for record in records] == SIZES and len({r.id for r in records}) == 6
    assert all(len({(r.width, r.height) for _, r in run}) == 1 for run in runs)


def look(records):
    """Finds the value of an image, and cannot look at the one of value 1."""
    values = [int(record.pixels[0, 0, 0]) for record in records]
    if 1 in values:
        raise UserError("image 2: too odd")
    return [(value, np.zeros(0)) for value in values]


def test_an_image_that_cannot_be_looked_at_takes_none_with_it(pictures, tmp_path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    inputs = image_inputs([*pictures[:2], tmp_path / "text.png", *pictures[2:]])
    unreadable: list[str] = []
    results = [value for _, _, (value, _) in looked_at(inputs, 4, look, unreadable)]
    assert results == [0, 2, 3, 4, 5]
    assert len(unreadable) == 2 and "text.png: cannot be read as an image" in unreadable[0]
    assert unreadable[1] == "image 2: too odd"
    with pytest.raises(ValueError, match="too odd"):
        list(looked_at(image_inputs(pictures), 4, look))


def test_nothing_is_opened_before_its_turn(pictures) -> None:
    taken = []

    def camera():
        for k, shown in enumerate(pictures):
            taken.append(k)
            yield shown

    results = looked_at(image_inputs(camera()), 1, lambda records: [(0, np.zeros(0))] * len(records))
    assert taken == []
    next(results)
    assert taken == [0]


class Slow:
    """An image that says when it was read."""

    def __init__(self, number: int, read: list[int]) -> None:
        self.name, self.number, self.read = f"image {number}", number, read

    def open(self) -> Image.Image:
        self.read.append(self.number)
        if self.number == 7:
            raise UserError("image 7: damaged")
        return Image.new("RGB", (8, 6), (self.number,) * 3)


def test_a_lists_images_are_read_ahead_in_order_and_not_too_far() -> None:
    read: list[int] = []
    inputs = [Slow(k, read) for k in range(12)]
    unreadable: list[str] = []
    seen = []
    for place, (image, record, _) in enumerate(looked_at(inputs, 1, lambda r: [(0, np.zeros(0))] * len(r), unreadable)):
        assert max(read) <= image.number + AHEAD + 1  # the bound
        seen.append(int(record.pixels[0, 0, 0]))
        assert record.id == f"{image.number}: image {image.number}" and place <= image.number
    assert read == list(range(12)) and seen == [k for k in range(12) if k != 7] and unreadable == ["image 7: damaged"]


def test_an_error_of_reading_comes_when_its_turn_comes_and_leaving_ends_the_reading() -> None:
    read: list[int] = []
    results = looked_at([Slow(k, read) for k in range(100)], 1, lambda r: [(0, np.zeros(0))] * len(r))
    assert [image.number for image, _, _ in (next(results) for _ in range(7))] == list(range(7))
    with pytest.raises(UserError, match="image 7: damaged"):
        next(results)
    results = looked_at([Slow(k, read) for k in range(20, 100)], 1, lambda r: [(0, np.zeros(0))] * len(r))
    next(results)
    results.close()
    wait = [thread for thread in threading.enumerate() if thread.name.startswith("reading")]
    for thread in wait:
        thread.join(5)
    assert max(read) < 20 + 2 * AHEAD + 2
