"""Results in a folder that people know: own files are replaced, nobody else's."""

import json
import os
from pathlib import Path

import pytest

from repmet.data.files.atomic import write_text
from repmet.data.files.output_folder import NOTE, check_output, output_folder
from repmet.errors import UserError


def write(folder: Path, **texts: str) -> None:
    with output_folder(folder, renewed="page") as aside:
        for name, text in texts.items():
            write_text(aside / name.replace("__", "/"), text)


def files(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != NOTE)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def test_a_second_run_replaces_its_files_and_no_others(tmp_path: Path) -> None:
    write_text(tmp_path / "photo", "mine")
    write(tmp_path, results="first", labels__a="1")
    check_output(tmp_path, ["results", "labels/a", "labels/b"])
    write(tmp_path, results="second, which is longer", labels__b="2")
    write(tmp_path, results="third")
    assert files(tmp_path) == {"photo": "mine", "results": "third", "labels/a": "1", "labels/b": "2"}
    check_output(tmp_path, ["results", "labels/a", "labels/b"])  # what earlier runs wrote is known still


@pytest.mark.parametrize("name", ["results", "labels__a"])
def test_a_file_of_somebody_else_stops_it_before_anything_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.replace("__", "/")
    write_text(path, "by hand")
    with pytest.raises(UserError, match="was not written by an earlier run") as raised:
        write(tmp_path, **{"another": "x", name: "found"})
    assert str(raised.value).startswith(f"{path}: ")
    assert files(tmp_path) == {name.replace("__", "/"): "by hand"} and not (tmp_path / NOTE).exists()


def test_what_was_corrected_by_hand_stays(tmp_path: Path) -> None:
    write(tmp_path, labels__a="found", labels__b="found")
    corrected = tmp_path / "labels/a"
    corrected.write_text("right")  # of the same length or another
    with pytest.raises(UserError, match="or was changed since"):
        check_output(tmp_path, ["labels/a"])
    with pytest.raises(UserError):
        write(tmp_path, labels__a="again", labels__b="again")
    assert files(tmp_path) == {"labels/a": "right", "labels/b": "found"}
    corrected.unlink()
    write(tmp_path, labels__a="again", labels__b="again")
    assert files(tmp_path) == {"labels/a": "again", "labels/b": "again"}


def test_a_link_is_nobody_s_own_file(tmp_path: Path) -> None:
    write_text(tmp_path / "kept", "x")
    write(tmp_path / "out", results="x")
    (tmp_path / "out/results").unlink()
    (tmp_path / "out/results").symlink_to(tmp_path / "kept")
    with pytest.raises(UserError):
        write(tmp_path / "out", results="y")
    assert (tmp_path / "kept").read_text() == "x"


def test_pictures_of_an_earlier_page_go_and_others_stay(tmp_path: Path) -> None:
    write_text(tmp_path / "page/mine", "mine")
    write(tmp_path, index="1", page__a="a", page__b="b", page__c="c")
    (tmp_path / "page/c").write_text("changed")
    write(tmp_path, index="2", page__a="A")
    assert files(tmp_path) == {"index": "2", "page/a": "A", "page/mine": "mine", "page/c": "changed"}


@pytest.mark.parametrize("note", ["", "{", "[]", "null", '{"results": 3}', '{"results": [["a", "b"]]}', '{"results": [3]}'])
def test_a_damaged_note_says_nothing(tmp_path: Path, note: str) -> None:
    write(tmp_path, results="1")
    (tmp_path / NOTE).write_text(note)
    with pytest.raises(UserError):
        write(tmp_path, results="2")
    assert files(tmp_path) == {"results": "1"}


def test_a_note_made_by_somebody_else_takes_no_file_elsewhere_away(tmp_path: Path) -> None:
    write_text(tmp_path / "mine", "mine")
    state = (tmp_path / "mine").lstat()
    write(tmp_path / "out", page__a="1")
    note = {f"page/../../{name}": [[state.st_size, state.st_mtime_ns]] for name in ("mine", "out/../mine")}
    (tmp_path / "out" / NOTE).write_text(json.dumps(note | {"page/a": [[0, 0]]}))
    (tmp_path / "out/page/a").unlink()
    write(tmp_path / "out", page__b="2")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_what_a_killed_run_has_moved_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    write(tmp_path, a="1", b="1")
    replace, left = os.replace, [moved]

    def killed(source: Path, target: Path) -> None:
        if Path(target).parent == tmp_path and Path(target).name in ("a", "b"):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    if moved < 2:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, a="two", b="two")
    else:
        write(tmp_path, a="two", b="two")
    monkeypatch.undo()
    write(tmp_path, a="three", b="three")
    assert files(tmp_path) == {"a": "three", "b": "three"}
