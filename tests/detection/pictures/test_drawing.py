"""The parts of a sheet: a support's crop and its frame, also at the border of an image, tiny, turned and transparent."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.files.pictures import open_rgb
from repmet.detection.pictures.drawing import CROP, fit, support_crop

WHITE = (255, 255, 255)


def image(path: Path, width: int = 100, height: int = 80, **how) -> Path:
    Image.new("RGB", (width, height), (20, 60, 20)).save(path, **how)
    return path


def frame(tile: Image.Image) -> tuple[int, int, int, int]:
    """The corners of the white line, x1, y1, x2, y2; it has to be closed."""
    white = (np.asarray(tile) == WHITE).all(-1)
    y, x = white.nonzero()
    x1, y1, x2, y2 = x.min(), y.min(), x.max(), y.max()
    assert white[y1, x1:x2].all() and white[y2, x1:x2].all() and white[y1:y2, x1].all() and white[y1:y2, x2].all()
    return int(x1), int(y1), int(x2), int(y2)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((40, 30, 60, 50), (14, 14, 82, 82)),  # margin 4, so 28 pixels to a side: a scale of 96/28
        ((60, 50, 100, 80), (16, 26, 95, 85)),  # margin 8, right and below none: 48x38 at a scale of 2, 10 rows above
        ((0, 0, 20, 80), (26, 0, 50, 95)),  # margin 16, left, above and below none: 36x80 at a scale of 1.2, 26 columns left
    ],
)
def test_the_frame_is_whole_wherever_the_box_lies(tmp_path: Path, box, expected) -> None:
    tile = support_crop(open_rgb(image(tmp_path / "a.png")), box)
    assert tile.size == (CROP, CROP)
    np.testing.assert_allclose(frame(tile), expected, atol=1)


@pytest.mark.parametrize("box", [(10.2, 10.2, 10.4, 10.4), (99.6, 79.6, 100, 80), (50, 0, 50.3, 80), (0, 0, 100, 80)])
def test_a_box_of_less_than_a_pixel_has_a_picture(tmp_path: Path, box) -> None:
    assert support_crop(open_rgb(image(tmp_path / "a.png")), box).size == (CROP, CROP)


def test_a_crop_is_of_the_picture_that_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((80, 100, 4), np.uint8)
    pixels[60:, :30] = (200, 0, 0, 255)  # stored at the lower left, shown at the upper left
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    tile = np.asarray(support_crop(open_rgb(tmp_path / "a.png"), (0, 0, 20, 30)))
    assert (tile[20, 40] == (200, 0, 0)).all() and (tile[-3, 40] == WHITE).all(), "and what is clear is white"


@pytest.mark.parametrize("name", ["a very long name of a class", "очень длинное название класса", "很长很长很长的类别名称"])
def test_names_are_shortened_to_fit(name: str) -> None:
    from repmet.data.files.lettering import text_width

    short = fit(name, 60, 12)
    assert text_width(short, 12) <= 60 < text_width(name, 12) and short.endswith("…") and fit("cup", 60, 12) == "cup"
