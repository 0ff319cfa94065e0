"""Lines that are written while a run goes on."""

import errno
from pathlib import Path

import pytest

from repmet.data.files.lines import LineWriter


def test_each_line_is_there_at_once(tmp_path: Path) -> None:
    with LineWriter(tmp_path / "deep/a.jsonl") as lines:
        lines.write("größe")
        assert (tmp_path / "deep/a.jsonl").read_text(encoding="utf-8") == "größe\n"
        lines.write("b" * 100_000)
    assert (tmp_path / "deep/a.jsonl").read_text(encoding="utf-8") == "größe\n" + "b" * 100_000 + "\n"


def test_a_line_without_room_is_not_begun(tmp_path: Path, room) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(OSError) as raised, LineWriter(path) as lines, room(100):
        for letter in "abcdef":
            lines.write(letter * 29)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(path))
    assert path.read_text().splitlines() == [letter * 29 for letter in "abc"]
