"""Numbers of things, and what files say, in messages."""

import pytest

from repmet.wording import counted, quoted, shortened


@pytest.mark.parametrize(
    ("number", "thing", "said"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (2, "class", "2 classes"),
        (1, "class", "1 class"),
        (3, "box", "3 boxes"),
        (5, "XML file", "5 XML files"),
        (2, "patch", "2 patches"),
    ],
)
def test_nouns_follow_their_numbers(number, thing, said) -> None:
    assert counted(number, thing) == said


def test_what_files_say_is_quoted_and_fits_into_a_line() -> None:
    assert [quoted(text) for text in ("", " a.jpg", "a\nb", 7)] == ["''", "' a.jpg'", r"'a\nb'", "'7'"]
    assert shortened("x" * 80) == "x" * 80
    text = shortened("a" * 1000 + "b" * 1000)
    assert len(text) == 80 and text.startswith("aaa") and text.endswith("bbb") and " ... " in text
