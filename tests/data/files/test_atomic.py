"""Files are written whole or not at all: by several writers, on full disks, into folders that are none."""

import errno
import json
import os
import time
from pathlib import Path

import pytest
import torch

from repmet.data.files.atomic import (
    LEFT_BEHIND,
    check_folder,
    copy_file,
    make_folder,
    write_atomically,
    write_json,
    write_text,
)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": 1})
    write_json(path, {"results": [0.25], "name": "é"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"results": [0.25], "name": "é"}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_write_that_fails_leaves_the_earlier_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "before")
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})

    def half(file) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, half)
    assert path.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """A second writer comes while the first is half way, and finishes before it: each file is whole, the last one stays."""
    path = tmp_path / "features.pt"

    def first(file) -> None:
        file.write(b"1" * 1000)
        write_atomically(path, lambda other: other.write(b"2" * 3000))
        assert path.read_bytes() == b"2" * 3000
        file.write(b"1" * 1000)

    write_atomically(path, first)
    assert path.read_bytes() == b"1" * 2000 and [p.name for p in tmp_path.iterdir()] == ["features.pt"]


def test_a_full_disk_is_an_error_of_the_disk_that_names_the_file(tmp_path: Path, room) -> None:
    """torch.save raises a RuntimeError of its own format there."""
    path = tmp_path / "a.pth"
    with pytest.raises(OSError) as caught, room(100_000):
        write_atomically(path, lambda file: torch.save(torch.zeros(100_000), file))
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_read_meanwhile_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "a.png", lambda file: file.write((tmp_path / "gone.jpg").read_bytes()))
    assert caught.value.filename == str(tmp_path / "gone.jpg") and not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError) as caught:
        copy_file(tmp_path / "gone.jpg", tmp_path / "a.jpg")
    assert caught.value.filename == str(tmp_path / "gone.jpg")


def test_a_copy_is_whole_or_not_there(tmp_path: Path, room) -> None:
    (tmp_path / "a").write_bytes(os.urandom(3_000_000))
    copy_file(tmp_path / "a", tmp_path / "deep/b")
    assert (tmp_path / "deep/b").read_bytes() == (tmp_path / "a").read_bytes()
    with pytest.raises(OSError) as caught, room(2_500_000):
        copy_file(tmp_path / "a", tmp_path / "c")
    assert caught.value.filename == str(tmp_path / "c") and not (tmp_path / "c").exists()


def test_a_folder_without_room_is_named_itself_and_not_left(tmp_path: Path, room) -> None:
    with pytest.raises(OSError) as caught, room(100):
        check_folder(tmp_path / "deep/run")
    assert caught.value.filename == str(tmp_path / "deep/run") and not list(tmp_path.iterdir())


def test_an_error_that_is_not_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        write_atomically(tmp_path / "a", lambda file: (_ for _ in ()).throw(RuntimeError("mine")))
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; name a file") as caught:
        write_atomically(tmp_path, lambda file: file.write(b"x"))
    assert caught.value.filename == str(tmp_path) and list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match=r"is a file; a folder is needed there.*file'$"):
            make_folder(folder)
        with pytest.raises(NotADirectoryError):
            write_text(folder / "a.txt", "x")


def test_a_folder_is_checked_before_time_is_spent(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert check_folder(folder / "below") == folder / "below" and not folder.exists()
    with pytest.raises(OSError, match=r"the disk is full: 1000000000000\.0 MB are needed") as caught:
        check_folder(folder, room=10**18)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(folder)
    with pytest.raises(OSError):
        check_folder("/proc/repmet")


def test_what_a_killed_process_left_is_taken_away_and_what_another_writes_is_not(tmp_path: Path) -> None:
    old, new = tmp_path / ".a.pth.123-ab.part", tmp_path / ".b.pth.124-ab.part"
    for path in (old, new):
        path.touch()
    folder = tmp_path / ".set.123-ab.part"
    write_text(folder / "images/a.txt", "a")
    for path in (old, folder):
        os.utime(path, (time.time() - LEFT_BEHIND - 10,) * 2)
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [new]


def test_tensors_are_read_back(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.pt", lambda file: torch.save(torch.arange(3), file))
    assert torch.load(tmp_path / "a.pt", weights_only=True).tolist() == [0, 1, 2]
