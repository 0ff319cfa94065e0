"""The notebook of the first hour and the guide's example run as they stand, on a small detector and small scenes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def after_the_demo(glyph_run, tmp_path, monkeypatch) -> Path:
    """A folder with what `make demo` leaves."""
    for link, target in {"work_dirs/demo": glyph_run, "data/glyph_scenes": glyph_run / "scenes"}.items():
        (tmp_path / link).parent.mkdir()
        (tmp_path / link).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_notebook(after_the_demo) -> None:
    content = json.loads((DOCS / "first_hour.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    names: dict = {}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"first_hour.ipynb, code cell {number}", "exec"), names)
    assert all(image.dtype == np.uint8 for image, _ in next(iter(names["marks"].values())))
    assert [result.image.path.stem for result in names["results"]] == names["wanted"]
    assert set(names["detector"].classes) < set(names["marks"]) and names["label"] in names["detector"].classes
    assert np.allclose(names["same"].scores, names["corrected"].scores, atol=1e-5)
    saved = json.loads((after_the_demo / "work_dirs/first_hour.json").read_text(encoding="utf-8"))
    assert len(saved["annotations"]) == len(names["corrected"])


def test_the_example_of_the_guide(after_the_demo, support, photos, capsys) -> None:
    (after_the_demo / "my_support").symlink_to(support)
    (after_the_demo / "my_photos").symlink_to(photos)
    text = (DOCS / "detect.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- test: detect -->\n```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "detect.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.count("my_photos/") == 4 and "novel_" in said
