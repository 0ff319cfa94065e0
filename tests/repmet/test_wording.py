"""Numbers of things, as messages say them."""

import pytest

from repmet.wording import counted


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
