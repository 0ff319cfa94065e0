"""What may be the name of a class: text that people can type, and that every file of results can hold."""

import unicodedata
from collections.abc import Iterable

from repmet.errors import UserError
from repmet.wording import quoted, shortened


def name_problem(name: object) -> str | None:
    """What is wrong with a class's name, as the end of a sentence, or None.

    No text are control characters, what breaks a line too, and bytes of a folder's name that are not in UTF-8 (Python holds
    them as surrogates).
    """
    if not isinstance(name, str):
        return f"is of type {type(name).__name__}; a class's name is text"
    if not name.strip():
        return "is no name"
    kinds = {unicodedata.category(letter) for letter in name}
    if "Cs" in kinds:
        return "holds bytes that are no UTF-8 text; rename it"
    return "holds control characters; rename it" if kinds & {"Cc", "Zl", "Zp"} else None


def check_class_names(names: Iterable[object], where: object = None) -> None:
    """Raises ValueError, naming the first class whose name is none; `where` is the folder or file that it is of."""
    for name in names:
        if (problem := name_problem(name)) is not None:
            shown = quoted(name) if isinstance(name, str) else shortened(repr(name))
            raise UserError(f"{'' if where is None else f'{where}: '}class {shown} {problem}")
