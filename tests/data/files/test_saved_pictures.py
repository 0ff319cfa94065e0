"""Pictures and plots are written whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from repmet.data.files.saved_pictures import save_picture, save_plot

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


def plot() -> Figure:
    figure = Figure((3, 2))
    figure.add_subplot().set(title="größe")
    return figure


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".webp"])
def test_a_picture_has_the_format_of_its_name(tmp_path: Path, suffix) -> None:
    save_picture(NOISE, tmp_path / f"deep/a{suffix}")
    with Image.open(tmp_path / f"deep/a{suffix}") as image:
        assert image.size == (60, 40) and image.format == {".png": "PNG", ".JPG": "JPEG", ".webp": "WEBP"}[suffix]


def test_a_plot_is_a_picture(tmp_path: Path) -> None:
    save_plot(plot(), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (300, 200)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".png", ".tif"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.999])
def test_whatever_has_no_room_is_an_error(tmp_path: Path, room, suffix, share) -> None:
    """The system writes a part of what it was handed without an error, and Pillow takes that for all."""
    save_picture(NOISE, tmp_path / f"whole{suffix}")
    size = int((tmp_path / f"whole{suffix}").stat().st_size * share)
    with pytest.raises(OSError) as raised, room(size):
        save_picture(NOISE, tmp_path / f"a{suffix}")
    assert raised.value.filename == str(tmp_path / f"a{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"whole{suffix}"]


@pytest.mark.parametrize("write", [lambda path: save_picture(NOISE, path), lambda path: save_plot(plot(), path)])
def test_without_room_nothing_is_left(tmp_path: Path, room, write) -> None:
    with pytest.raises(OSError) as raised, room(500):
        write(tmp_path / "a.png")
    assert raised.value.filename == str(tmp_path / "a.png") and list(tmp_path.iterdir()) == []
