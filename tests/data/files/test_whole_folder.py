"""Sets of files that appear together or not at all."""

import errno
import time
from pathlib import Path

import pytest

from repmet.data.files.atomic import write_text
from repmet.data.files.whole_folder import whole_folder


def test_the_files_move_when_all_are_there_and_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "set"
    write_text(folder / "a/old.txt", "old")
    write_text(folder / "a/x.txt", "before")
    with whole_folder(folder) as aside:
        write_text(aside / "a/x.txt", "new")
        write_text(aside / "index.txt", "list")
        assert (folder / "a/x.txt").read_text() == "before" and not (folder / "index.txt").exists()
    texts = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert texts == {"a/old.txt": "old", "a/x.txt": "new", "index.txt": "list"}


def test_an_error_leaves_all_as_it_was_and_names_the_place_to_be(tmp_path: Path, room) -> None:
    folder = tmp_path / "deep" / "set"
    with pytest.raises(OSError) as raised, whole_folder(folder) as aside, room(100):
        write_text(aside / "a.txt", "a" * 90)
        write_text(aside / "b/c.txt", "b" * 200)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(folder / "b/c.txt"))
    assert list(tmp_path.iterdir()) == []
    write_text(folder / "kept.txt", "kept")
    with pytest.raises(KeyboardInterrupt), whole_folder(folder) as aside:
        write_text(aside / "kept.txt", "other")
        raise KeyboardInterrupt
    assert [path.name for path in folder.iterdir()] == ["kept.txt"] and (folder / "kept.txt").read_text() == "kept"


def test_errors_of_other_files_keep_their_names(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, whole_folder(tmp_path / "set"):
        (tmp_path / "none.txt").read_bytes()
    assert raised.value.filename == str(tmp_path / "none.txt")


def test_a_folder_in_the_place_of_a_file_is_seen_before_anything_moves(tmp_path: Path) -> None:
    (tmp_path / "set/b.txt").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as raised, whole_folder(tmp_path / "set") as aside:
        write_text(aside / "a.txt", "a")
        time.sleep(0.01)
        write_text(aside / "b.txt", "b")
    assert raised.value.filename == str(tmp_path / "set/b.txt")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["b.txt"]
