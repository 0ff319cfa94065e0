"""Names as people read them: one name, whichever way its accents are spelt.

Unicode spells é as one letter (composed, NFC) or as e and an accent (decomposed, NFD). Archives made on a Mac hold names of
files in the second way, annotations hold them in the first, and both look the same.
"""

import unicodedata
from functools import lru_cache
from pathlib import Path


def composed(name: str) -> str:
    """The name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def plain_name(step: str) -> str:
    """A name of a file or folder that lists, XML and JSON give back, on every system: an underscore in the place of control
    characters, bytes that are no text, slashes and colons, no blanks at its ends, and not hidden."""
    odd = ("Cc", "Cs", "Zl", "Zp")
    name = "".join("_" if letter in "/\\:" or unicodedata.category(letter) in odd else letter for letter in step).strip()
    return name if name and not name.startswith(".") else f"_{name}"


def as_it_lies(path: Path) -> Path:
    """The path of what lies there, with names spelt as they are on the disk; the path as it is where nothing does."""
    if path.exists() or str(path).isascii() or path == path.parent:
        return path
    folder = as_it_lies(path.parent)
    if not folder.is_dir():
        return path
    spelt = _spellings(folder, folder.stat().st_mtime_ns).get(composed(path.name))
    return path if spelt is None else folder / spelt


@lru_cache(maxsize=64)
def _spellings(folder: Path, _changed: int) -> dict[str, str]:
    """By the composed name of what lies in a folder the name as it is spelt, read once as long as the folder stays."""
    return {composed(path.name): path.name for path in folder.iterdir()}
