"""Text files as editors write them: with or without a byte order mark, in UTF-8 or UTF-16; and the numbers in them."""

import codecs
import math
from pathlib import Path

from repmet.errors import UserError

# UTF-32's mark begins with UTF-16's, so it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: str | Path) -> str:
    """The text of a file: in the encoding that its byte order mark says, without one in UTF-8.

    Raises:
        ValueError: it is no such text; the message names the file.
    """
    content = Path(path).read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in {encoding.upper()} (byte {error.start}); save it in UTF-8") from None


def lines_of(path: str | Path) -> list[str]:
    """The lines of a file without blank ones and without the spaces around them. Raises ValueError as `read_text`."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def number_in(text: str | None) -> float:
    """The number that a file's text says, NaN where it is none. 1_0 is none, though Python's own `float` reads 10."""
    try:
        return math.nan if text is None or "_" in text else float(text)
    except ValueError:
        return math.nan
