"""The project folder: what is written is read back; one page at a time; a kill at any moment leaves a whole file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawing_program import DRAWS
from pycocotools.coco import COCO

from repmet.errors import UserError
from repmet.page.marks import Mark, State
from repmet.page.project import Project

ROOT = Path(__file__).parents[3]


def filled(project: Project) -> Project:
    project.sizes |= {"größe/ねじ 1.png": (64, 48), "b.png": (100, 80)}
    marks = (
        Mark(project.new_number(), "größe/ねじ 1.png", (1.5, 2.25, 30, 40), "ねじ"),
        Mark(project.new_number(), "b.png", (0, 0, 50, 50), "nut & bolt", "rejected", "found", 0.41),
    )
    project.change(State(("ねじ", "nut & bolt", "empty"), marks, {"ねじ": 0.35}))
    project.look_through("b.png")
    return project


def test_what_is_written_is_read_back(tmp_path):
    project = filled(Project(tmp_path / "p"))
    before = project.state
    project.close()
    again = Project(tmp_path / "p")
    assert again.state == before and again.seen == {"b.png"} and again.sizes["b.png"] == (100, 80)
    assert again.new_number() == 3
    again.close()


def test_the_file_is_coco(tmp_path, capsys):
    project = filled(Project(tmp_path / "p"))
    coco = COCO(str(project.marks_file))
    capsys.readouterr()
    assert sorted(image["file_name"] for image in coco.loadImgs(coco.getImgIds())) == ["b.png", "größe/ねじ 1.png"]
    first, second = coco.loadAnns([1, 2])
    assert first["bbox"] == [1.5, 2.25, 28.5, 37.75] and first["state"] == "accepted"
    assert (second["state"], second["source"], second["score"]) == ("rejected", "found", 0.41)
    project.write_finds({"b.png": [((1, 2, 3.5, 4), "ねじ", 0.123456789), ((1, 2, 3, 4), "gone", 0.5)]})
    (find,) = json.loads((tmp_path / "p" / "finds.json").read_text(encoding="utf-8"))["annotations"]
    assert (find["state"], find["score"], find["bbox"]) == ("found", 0.12346, [1, 2, 2.5, 2])
    project.close()


def test_undo_goes_back_step_by_step_and_on_disk(tmp_path):
    project = Project(tmp_path / "p")
    assert not project.undo()
    first = State(("a",))
    second = first.with_mark(Mark(1, "x.png", (0, 0, 9, 9), "a"))
    project.change(first)
    project.change(second)
    assert project.undo() and project.state == first
    project.close()
    again = Project(tmp_path / "p")
    assert again.state == first
    again.close()


def test_two_pages_on_one_folder_refuse_each_other(tmp_path):
    project = Project(tmp_path / "p")
    with pytest.raises(UserError, match="another page has this project open"):
        Project(tmp_path / "p")
    project.close()
    Project(tmp_path / "p").close()


@pytest.mark.parametrize("text", ["{", "[]", '{"info": {"format": "x"}}', '{"info": {"format": "repmet-page-1"}}'])
def test_a_file_of_something_else_is_named_and_left_alone(tmp_path, text):
    (tmp_path / "marks.json").write_text(text)
    with pytest.raises(UserError, match=r"marks\.json"):
        Project(tmp_path)
    assert (tmp_path / "marks.json").read_text() == text
    (tmp_path / "marks.json").unlink()
    Project(tmp_path).close()  # the lock was let go


def test_a_full_disk_changes_nothing(tmp_path, monkeypatch):
    project = filled(Project(tmp_path / "p"))
    before = project.state

    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("repmet.page.project.write_text", full)
    with pytest.raises(OSError):
        project.change(State())
    assert project.state == before
    with pytest.raises(OSError):
        project.undo()
    assert project.state == before
    project.close()


@pytest.mark.parametrize("name", ["finds.json", "classes.repmet"])
def test_a_folder_of_other_files_is_made_no_project(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name}: is there without marks.json"):
        Project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine"


def test_a_project_without_a_mark_is_opened_again(tmp_path):
    project = Project(tmp_path)
    project.write_finds({})
    project.close()
    assert (tmp_path / "finds.json").exists()
    Project(tmp_path).close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_loses_nothing_that_was_drawn(tmp_path):
    for round_ in range(3):
        folder = tmp_path / str(round_)
        process = subprocess.Popen([sys.executable, "-c", DRAWS, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        said = [process.stdout.readline() for _ in range(5)]
        time.sleep(0.03 * round_)
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.read().splitlines()
        process.wait()
        last = max(int(line) for line in said if line.strip())
        project = Project(folder)  # the lock of a killed process is free
        numbers = [mark.number for mark in project.state.marks]
        assert numbers == list(range(1, len(numbers) + 1)) and last <= len(numbers) <= last + 1
        project.close()
