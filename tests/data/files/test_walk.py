"""Folders are walked in order, hidden names passed over, links followed once."""

import os
from pathlib import Path

import pytest

from repmet.data.files.walk import files_below, make_drawn_folder


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_in_order_without_hidden_ones(tmp_path) -> None:
    wanted = [put(tmp_path / "b.jpg"), put(tmp_path / "a" / "z.jpg"), put(tmp_path / "c" / "d" / "y.jpg")]
    for hidden in ("._b.jpg", ".git/x.jpg", "__MACOSX/x.jpg", "a/.DS_Store"):
        put(tmp_path / hidden)
    assert list(files_below(tmp_path)) == wanted


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_passed_over_and_a_link_to_nothing_is_not(tmp_path, caplog) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert files_below(tmp_path) == [tmp_path / "gone.png"]
    assert "pipe.png: a pipe, a socket or a device is passed over" in caplog.text


def test_a_linked_folder_is_followed_once(tmp_path) -> None:
    put(tmp_path / "other" / "a.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "other")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "round").symlink_to(tmp_path / "set")
    assert list(files_below(tmp_path / "set")) == [tmp_path / "set" / "again" / "a.jpg"]


def test_what_was_drawn_is_no_image_of_the_folder_but_can_be_named(tmp_path) -> None:
    mine, drawn = put(tmp_path / "a.jpg"), put(make_drawn_folder(tmp_path / "found" / "pictures") / "00000_a.png")
    assert list(files_below(tmp_path)) == list(files_below(str(tmp_path))) == [mine]
    assert list(files_below(drawn.parent)) == [drawn]
