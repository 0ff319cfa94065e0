"""Student minus teacher: the measure itself, with a training that is replaced, as a real one takes minutes."""

import json

import pytest
from PIL import Image, ImageDraw

pytest.importorskip("mmdet")
from repmet.benchmarks import distil
from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.pages import render
from repmet.data.readers.annotated_folder import read_images


@pytest.fixture
def balls(tmp_path):
    """Eight images of red balls in VOC's layout, four to learn from."""
    root = tmp_path / "balls"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        image = Image.new("RGB", (200, 160), (210, 210, 205))
        x, y = 20 + 12 * number, 30 + 5 * number
        ImageDraw.Draw(image).ellipse((x, y, x + 50, y + 50), fill=(200, 30, 30))
        image.save(root / f"JPEGImages/{number}.png")
        box = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + 51}</xmax><ymax>{y + 51}</ymax>"
        size = "<size><width>200</width><height>160</height></size><filename>"
        thing = f"<object><name>ball</name><bndbox>{box}</bndbox></object>"
        (root / f"Annotations/{number}.xml").write_text(f"<annotation>{size}{number}.png</filename>{thing}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\n3\n")
    (root / "ImageSets/Main/test.txt").write_text("4\n5\n6\n7\n")
    return root


def test_the_figures_are_those_of_teacher_and_student(balls, tmp_path, monkeypatch, capsys):
    seen = []

    def student(folder, work, *options):
        seen.append(len(read_images(folder, "train")))
        teacher = distil.taught(distil.read_own_data(balls), 1, 0)
        return teacher, 0.5

    monkeypatch.setattr(distil, "student", student)
    out = tmp_path / "distil.json"
    assert distil.main([str(balls), "--marks", "1", "--accept", "0.3", "--by-hand", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["detector"] for row in rows] == ["teacher", "student", "by_hand"]
    assert seen == [4, 4] and [rows[k]["boxes"]["mean"] for k in (0, 2)] == [1, 4] and rows[1]["boxes"]["mean"] >= 4
    assert len({row["AP50"]["mean"] for row in rows}) == 1 and rows[0]["AP50"]["mean"] > 0.9
    assert rows[1]["minutes"]["mean"] == 0.5 and "student  AP50 " in capsys.readouterr().out
    about = {"family": "scores", "name": "distil", "revision": "NOT KEPT"}
    text = render("distil", [run_of(json.loads(out.read_text()), **about)])
    cells = text.splitlines()[3].strip("| ").split(" | ")
    assert cells[:2] == ["balls", "student: on what the teacher labelled, from 0.3 on"] and cells[-1] == "0.5"
