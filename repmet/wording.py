"""Things in messages: their number (1 class, 2 classes), and what files say, quoted and never longer than a line."""

import unicodedata


def counted(number: int, thing: str) -> str:
    """The number with its noun, in the plural where it is not one: 0 images, 1 image, 3 boxes."""
    if number == 1:
        return f"1 {thing}"
    return f"{number} {thing}es" if thing.endswith(("s", "x", "ch", "sh")) else f"{number} {thing}s"


def on_a_line(text: object) -> str:
    """A text with its control characters written out, so that a name of a file is on one line and moves no cursor."""
    return "".join(letter if unicodedata.category(letter) not in _CONTROLS else repr(letter)[1:-1] for letter in str(text))


_CONTROLS = ("Cc", "Zl", "Zp")  # control characters, line and paragraph separators


def shortened(text: object, longest: int = 80) -> str:
    """A text of a user's file as it is, or where it is long its two ends."""
    whole, end = str(text), longest // 3
    return whole if len(whole) <= longest else f"{whole[: longest - end - 5]} ... {whole[-end:]}"


def quoted(text: object, longest: int = 80) -> str:
    """A text of a user's file in quotes, so that an empty one is seen and a newline is no line; of a long one the ends."""
    return repr(shortened(text, longest))
