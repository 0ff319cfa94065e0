"""Text files as editors write them."""

import math

import pytest

from repmet.data.files.text import lines_of, number_in, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_with_and_without_a_byte_order_mark(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("  кот \r\n\n猫\n".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "  кот \r\n\n猫\n" and lines_of(tmp_path / "a.txt") == ["кот", "猫"]


@pytest.mark.parametrize(("mark", "name"), [(b"\xff\xfe", "UTF-16"), (b"", "UTF-8")])
def test_what_is_no_text_is_named(tmp_path, mark, name):
    (tmp_path / "a.txt").write_bytes(mark + b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=rf"a\.txt: not text in {name} \(byte \d\); save it in UTF-8"):
        read_text(tmp_path / "a.txt")


def test_numbers_are_those_that_other_programs_read_too():
    assert [number_in(text) for text in ("10", " 1.5e1\n", "-3")] == [10, 15, -3]
    assert all(math.isnan(number_in(text)) for text in (None, "", "x", "1_0", "0.1_0", "nan"))
