"""Text in pictures: every script is drawn by a font that has it, or in Latin letters; never as empty squares."""

import itertools
import logging
import warnings

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from repmet.data.files import lettering
from repmet.data.files.lettering import draw_text, legible, lettered, text_width

NAMES = ["cat", "кот", "пёс", "γάτα", "قط", "猫", "犬", "汽车", "ねこ", "고양이", "แมว", "बिल्ली", "Kätzchen", "חתול", "猫 3"]


def drawn(text: str, size: int = 12) -> np.ndarray:
    """The pixels of a text, (h, w), dark on light, cut to its ink."""
    image = Image.new("L", (300, 40), 255)
    draw_text(ImageDraw.Draw(image), (20, 10), text, size, "black")
    ink = np.asarray(image) < 128
    return ink[np.ix_(ink.any(1), ink.any(0))]


@pytest.fixture(params=["with the CJK font", "without"])
def fonts(request, monkeypatch):
    files = lettering._font_files()
    if request.param == "without":
        monkeypatch.setattr(lettering, "_font_files", lambda: files[:1])
    elif len(files) < 2:
        pytest.skip("needs the extra `fonts`")
    return request.param


def test_names_are_told_apart(fonts) -> None:
    for a, b in itertools.combinations(NAMES, 2):
        assert drawn(a).shape != drawn(b).shape or (drawn(a) != drawn(b)).any(), (a, b)


def test_no_letter_is_the_square_of_a_missing_one(fonts) -> None:
    """Every letter differs from what each font draws for a character that it lacks."""
    missing = []
    for file in (None, *lettering._font_files()):
        font = lettering._font(file, 40)
        mask = font.getmask("\U0010fffd")
        missing.append(np.array(mask).reshape(mask.size[::-1]) > 128)
    for letter in {letter for name in NAMES for letter in legible(name)} - {" "}:
        for run, font in lettering._runs(letter, 40):
            mask = font.getmask(run)
            ink = np.array(mask).reshape(mask.size[::-1]) > 128
            assert ink.any() and not any(ink.shape == m.shape and (ink == m).all() for m in missing), letter


def test_plain_names_are_drawn_as_ever() -> None:
    expected = Image.new("RGB", (80, 20), "white")
    ImageDraw.Draw(expected).text((3, 2), "novel_036", fill=(9, 9, 9), font=ImageFont.load_default(12))
    image = Image.new("RGB", (80, 20), "white")
    draw_text(ImageDraw.Draw(image), (3, 2), "novel_036", 12, (9, 9, 9))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.parametrize("name", NAMES)
def test_a_text_takes_its_width(name: str) -> None:
    image = Image.new("L", (300, 40), 255)
    draw_text(ImageDraw.Draw(image), (0, 0), name, 20, "black")
    ink = (np.asarray(image) < 128).any(0).nonzero()[0]
    assert ink[0] >= 0 and text_width(name, 20) - 6 < ink[-1] < text_width(name, 20) + 2


def test_what_no_font_has_is_in_latin_letters(monkeypatch) -> None:
    assert legible("แมว") == "aemw" and legible("two\n lines\t") == "two lines"
    assert legible("\ue000") == "U+E000"
    monkeypatch.setattr(lettering, "_font_files", lambda: ())
    assert legible("кот и 猫") == "kot i Mao" and legible("a\ufe0f") == "a"


def test_letters_in_figures(tmp_path, caplog) -> None:
    """Free text, names at ticks and in a legend; matplotlib misses no letter, and says nothing of fonts."""
    from matplotlib.figure import Figure

    pictures = []
    for name in ("猫", "犬", "แมว", "cat"):
        figure = Figure(figsize=(3, 1), dpi=100)
        axes = figure.subplots()
        axes.barh([legible(name), legible(f"{name} 2")], [1, 2], label=name)
        axes.legend()
        axes.set_title(f"{name}\n{name}")
        with caplog.at_level(logging.WARNING), warnings.catch_warnings(), lettered(figure):
            warnings.simplefilter("error")
            figure.savefig(tmp_path / "a.png")
        pictures.append(np.asarray(Image.open(tmp_path / "a.png").convert("L")))
    assert not caplog.messages
    assert all((a != b).any() for a, b in itertools.combinations(pictures, 2))
