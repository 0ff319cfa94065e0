"""Numbers of things, and what files say, in messages."""

import pytest

from repmet.wording import counted, on_a_line, quoted, shortened


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("größe ねじ 🔩.jpg", "größe ねじ 🔩.jpg"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u2028b\x85c\x7f", "a\\u2028b\\x85c\\x7f"),
        ("back\\slash", "back\\slash"),
        ("\udcff", "\udcff"),
    ],
)
def test_a_name_is_on_one_line(name, said) -> None:
    assert on_a_line(name) == said and len(on_a_line(name).splitlines()) == 1
