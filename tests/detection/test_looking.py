"""Images on their way to a detector: in their order, of one size together, and what cannot be read costs itself alone."""

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.looking import looked_at, runs_of_one_size
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
