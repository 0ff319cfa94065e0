"""Wrong labels are drawn and ranked, several labels are scored: on embeddings whose answers are known, and from files."""

import json

import numpy as np
import pytest
from PIL import Image

from repmet.benchmarks import mislabelled, several_labels
from repmet.benchmarks.tables import few_shot_images as _tables  # noqa: F401  (registers them)
from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.registry import render

SECTION = {"type": "Conv4", "in_channels": 3, "width": 8, "image_size": 16}


def table_of(path, name: str) -> str:
    content = json.loads(path.read_text())
    return render(name, [run_of(content, family="few_shot", name="x", revision="abc", commands=["python -m x"])])


def test_as_many_labels_are_wrong_as_asked_for() -> None:
    labels = np.repeat(np.arange(4), 30)
    chosen, said = mislabelled.draw(labels, 25, 0.1, np.random.default_rng(0))
    assert np.bincount(labels[chosen]).tolist() == [25] * 4 and len(set(chosen.tolist())) == 100
    assert (said != labels[chosen]).sum() == 10 and said.min() >= 0 and said.max() <= 3


def test_wrong_labels_of_apart_classes_come_first_and_blind_ones_anywhere() -> None:
    labels = np.repeat(np.arange(4), 25)
    rng = np.random.default_rng(0)
    apart = (np.eye(4, 6)[labels] + 0.05 * rng.standard_normal((100, 6))).astype(np.float32)
    chosen, said = mislabelled.draw(labels, 25, 0.1, rng)
    assert mislabelled.figures(apart[chosen], labels[chosen], said) == (1, 1)
    blind = rng.standard_normal((100, 6)).astype(np.float32)
    assert mislabelled.figures(blind, labels[chosen], said)[0] == pytest.approx(0.5, abs=0.25)


def test_figures_of_several_labels_by_hand() -> None:
    truth = np.array([[True, False], [False, True], [True, True]])
    values = several_labels.figures(np.array([[0.9, 0.6], [0.2, 0.7], [0.4, 0.8]]), truth, np.array([0.5, 0.5]))
    assert values["map"]["mean"] == pytest.approx(1)  # in both columns what is shown comes first
    assert values["precision"]["mean"] == pytest.approx(3 / 4) and values["recall"]["mean"] == pytest.approx(3 / 4)
    chances = [0.9, 0.4, 0.8, 0.7, 0.8, 0.4]
    assert values["loss"]["mean"] == pytest.approx(-np.log(chances).mean())
    assert values["loss_shares"]["mean"] == pytest.approx(np.log(2))


def test_from_pictures_to_the_tables(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("repmet.benchmarks.embedded_folders.CACHE", tmp_path / "cache")
    classifier = mislabelled.FewShotClassifier
    for module in (mislabelled, several_labels):
        monkeypatch.setattr(module, "FewShotClassifier", lambda encoder: classifier(SECTION))
    for name in ("blue", "green", "red"):
        (tmp_path / "colours" / name).mkdir(parents=True)
        for k in range(4):
            Image.new("RGB", (20 + k, 20), name).save(tmp_path / "colours" / name / f"{k}.png")
    out = tmp_path / "wrong.json"
    assert mislabelled.main([str(tmp_path / "colours"), "--images", "4", "--draws", "2", "--out", str(out)]) == 0
    assert table_of(out, "mislabelled").count("| colours |") == 1
    assert mislabelled.main([str(tmp_path / "colours"), "--images", "9"]) == 2
    assert "no class has 9 images" in capsys.readouterr().err

    (tmp_path / "coco/images").mkdir(parents=True)
    images, boxes = [], []
    for k in range(24):
        halves = ("blue", "green", "red")[k % 3], ("blue", "green", "red")[k // 3 % 3]
        picture = Image.new("RGB", (20, 20), halves[0])
        picture.paste(Image.new("RGB", (10, 20), halves[1]))
        picture.save(tmp_path / f"coco/images/{k}.png")
        images.append({"id": k, "file_name": f"{k}.png", "coco_split": "train2017" if k < 16 else "val2017"})
        boxes += [{"image_id": k, "category_id": 5 + ("blue", "green", "red").index(half)} for half in set(halves)]
    content = {"images": images, "annotations": boxes}
    content["categories"] = [{"id": 5 + c, "name": name} for c, name in enumerate(("blue", "green", "red"))]
    (tmp_path / "coco/instances.json").write_text(json.dumps(content))
    out = tmp_path / "several.json"
    assert several_labels.main([str(tmp_path / "coco"), "--out", str(out)]) == 0
    text = table_of(out, "several-labels")
    assert "| coco | RepMet | 3 | 16 |" in text and "logistic" in text
    assert several_labels.main([str(tmp_path)]) == 2
    assert "no such file" in capsys.readouterr().err
