"""Support sets: where the pixels of a crop come to lie."""

from pathlib import Path

import numpy as np
from PIL import Image

from repmet.detection.episodes.support_set import read_support


def test_crops_lie_on_a_canvas_of_their_borders_colour(tmp_path: Path) -> None:
    for name, colour, size in (("cup", (200, 10, 10), (20, 30)), ("pen", (10, 10, 200), (40, 8))):
        (tmp_path / name).mkdir()
        Image.new("RGB", size, colour).save(tmp_path / name / "one.png")
    cup, pen = read_support(tmp_path, tmp_path / "scratch")
    assert (cup.names, pen.names) == (("cup",), ("pen",))
    assert (cup.width, cup.height, pen.width) == (90, 90, 120)
    np.testing.assert_array_equal(cup.boxes, [[35, 30, 55, 60]])
    np.testing.assert_array_equal(pen.boxes, [[40, 56, 80, 64]])
    with Image.open(cup.path) as image:
        assert image.getcolors() == [(90 * 90, (200, 10, 10))]
