"""Text of any script in pictures: which font draws which letters, and what is drawn where none does.

Pillow's own font draws ASCII, DejaVu Sans (of matplotlib) European and Arabic letters, Noto Sans CJK (the extra `fonts`)
Chinese, Japanese and Korean. What no font has is written in Latin letters by the library anyascii: no name becomes empty
squares.
"""

import contextlib
import importlib.util
import logging
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import ImageDraw, ImageFont

_CJK = ("manimgx_fonts_cjk", "NotoSansCJK-VF.otf.ttc")  # the font alone, as Noto publishes it, in a package


def legible(text: str) -> str:
    """The text on one line, in letters that a font here has."""
    text = " ".join(text.split())
    if text.isascii():
        return text
    return "".join(letter if letter.isascii() or _font_of(letter) is not None else _latin(letter) for letter in text)


def text_width(text: str, size: int) -> float:
    """The width in pixels that `draw_text` takes."""
    return sum(font.getlength(run) for run, font in _runs(text, size))


def draw_text(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, fill: str | tuple[int, ...] = "black"
) -> None:
    """Writes a line of text at its left upper corner, each letter in a font that has it.

    Args:
        size: of the letters, in pixels.
    """
    x, y = place
    base = y + _font(None, size).getmetrics()[0]
    for run, font in _runs(text, size):
        draw.text((x, base), run, fill=fill, font=font, anchor="ls")
        x += font.getlength(run)


def _latin(letter: str) -> str:
    """A letter in Latin ones: by anyascii; of what even that does not know the number, and marks without sound nothing."""
    from anyascii import anyascii

    silent = unicodedata.category(letter) in ("Mn", "Me", "Cf", "Cc")
    return anyascii(letter) or ("" if silent else f"U+{ord(letter):04X}")


@contextlib.contextmanager
def lettered(figure: Any) -> Iterator[None]:
    """While a figure of matplotlib is drawn, all its text is in fonts that have it.

    Names at ticks are written anew by every drawing: they have to be `legible` before.
    """
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontfamily(_families())
        if not text.get_text().isascii():
            text.set_text("\n".join(legible(line) for line in text.get_text().split("\n")))
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)  # it says that Noto's file begins with its thin weight
    try:
        with matplotlib.rc_context({"font.family": _families()}):  # for the ticks, which come to be now
            yield
    finally:
        log.setLevel(level)


@cache
def _font_files() -> tuple[Path, ...]:
    """The font files that are there, the preferred one first."""
    import matplotlib

    files = [Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"]
    package = importlib.util.find_spec(_CJK[0])
    if package is not None and package.origin is not None:
        files.append(Path(package.origin).with_name(_CJK[1]))
    return tuple(files)


@cache
def _letters(file: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(file)).get_charmap())


def _font_of(letter: str) -> Path | None:
    """The file of the first font that has a letter."""
    return next((file for file in _font_files() if ord(letter) in _letters(file)), None)


@cache
def _font(file: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if file is None:
        return ImageFont.load_default(size)
    font = ImageFont.truetype(str(file), size)
    with contextlib.suppress(OSError):  # a font of one weight
        font.set_variation_by_name("Regular")
    return font


def _runs(text: str, size: int) -> list[tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]]:
    """The text in runs of one font. ASCII within other letters takes the first font that they have, not Pillow's."""
    text = legible(text)
    if text.isascii():
        return [(text, _font(None, size))]
    return [("".join(run), _font(file, size)) for file, run in groupby(text, _font_of)]


@cache
def _families() -> list[str]:
    from matplotlib.font_manager import FontProperties, fontManager

    for file in _font_files()[1:]:
        fontManager.addfont(file)
    return [FontProperties(fname=file).get_name() for file in _font_files()]
