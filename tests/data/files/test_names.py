"""A name is one name, whichever way its accents are spelt."""

import unicodedata

import pytest

from repmet.data.files.names import as_it_lies, composed

ACCENTED = "café_naïve_Å"


def test_the_composed_form() -> None:
    apart = unicodedata.normalize("NFD", ACCENTED)
    assert apart != ACCENTED and composed(apart) == composed(ACCENTED) == ACCENTED


@pytest.mark.parametrize(("lies", "asked"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC")])
def test_a_file_is_found_by_its_name_below_folders_with_accents(tmp_path, lies, asked) -> None:
    here, said = (unicodedata.normalize(form, ACCENTED) for form in (lies, asked))
    (tmp_path / here).mkdir()
    (tmp_path / here / f"{here}.jpg").write_text("x")
    assert as_it_lies(tmp_path / said / f"{said}.jpg") == tmp_path / here / f"{here}.jpg"


def test_what_is_not_there_keeps_its_name_and_what_comes_later_is_found(tmp_path) -> None:
    asked = tmp_path / "é.jpg"
    assert as_it_lies(asked) == asked and as_it_lies(tmp_path / "none.jpg") == tmp_path / "none.jpg"
    (tmp_path / unicodedata.normalize("NFD", "é.jpg")).write_text("x")
    assert as_it_lies(asked).read_text() == "x"
