"""The measure of the page, with a quick detector in the place of the one that ships: what is timed, counted and written."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "repmet/page"))
pytest.importorskip("filelock")
from coloured_things import ColourDetector, lay_out

from repmet.benchmarks import page
from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.page_tables import page_person, page_times
from repmet.page.gallery import Gallery
from repmet.page.project import Project
from repmet.page.session import Session
from repmet.page.teacher import Teacher

THINGS = [("red", (120, 130, 180, 190)), ("blue", (220, 40, 280, 90))]


@pytest.fixture
def annotated(tmp_path) -> Path:
    """Four scenes with a list; of the red things the second one alone is annotated."""
    root = tmp_path / "set"
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    lay_out(root / "JPEGImages")
    for number in range(4):
        things = [*THINGS, ("red", (20, 30 + number % 5, 70, 80 + number % 5))]
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{a + 1}</xmax><ymax>{b + 1}</ymax></bndbox></object>"
            for name, (x, y, a, b) in things
        )
        size = f"<size><width>320</width><height>240</height></size><filename>scene_{number:04d}.png</filename>"
        (root / f"Annotations/scene_{number:04d}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("".join(f"scene_{number:04d}\n" for number in range(4)))
    return root


def test_it_times_and_counts(annotated, tmp_path, monkeypatch, capsys):
    def opened(folder: Path) -> Session:
        project = folder / "repmet-page"
        session = Session(Gallery([folder], project), Project(project), lambda: Teacher(ColourDetector()))
        session.start()
        return session

    monkeypatch.setattr(page, "opened", opened)
    monkeypatch.setattr(page, "seconds_to_page", lambda folder: float(len(list(folder.iterdir()))))
    out = tmp_path / "page.json"
    assert page.main([str(annotated), "--images", "4", "9", "--boxes", "3", "--corrected", "1", "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    four, nine = content["page"]
    assert (four["images"], four["page_s"], nine["images"], nine["page_s"]) == (4, 4, 9, 9)
    assert 0 < nine["median_ms"] <= nine["p95_ms"] < 60_000
    (person,) = content["person"]
    assert person["objects"] == 12 and person["actions"] == 3  # drawn on the first image; the others' are found
    assert person["right"] == 12 and person["wrong"] == 2 and person["boxes_per_action"] == 4  # the pink ones look red
    assert "4.0 boxes an action" in capsys.readouterr().out
    run = run_of(content, family="page", name="page", revision="abc")
    assert page_times([run]).splitlines()[2].startswith("| set | 4 | 4.0 | ")
    assert page_person([run]).splitlines()[2] == "| set | 1 | 3 | 12 of 12 | 2 | 4.0 |"
    assert page_times([]) == page_person([]) == "*Nothing measured yet.*"
