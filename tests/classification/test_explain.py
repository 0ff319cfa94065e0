"""The command `explain`: wrong labels are told, by images that were left out, with a page and files."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from repmet.classification import explain
from repmet.classification.confusions import confusions
from repmet.classification.learnt_images import LearntImages


def learnt(embeddings: np.ndarray, labels: np.ndarray) -> LearntImages:
    names = tuple(f"{k}.jpg" for k in range(len(labels)))
    thumbnails = np.zeros((len(labels), 2, 2, 3), np.uint8)
    return LearntImages(("a", "b", "c"), embeddings, labels, names, thumbnails, 1, None)


def test_mislabelled_images_come_first_with_their_likeness() -> None:
    truth = np.repeat(np.arange(3), 8)
    embeddings = np.eye(3, 6)[truth] + 0.1 * np.random.default_rng(0).standard_normal((24, 6))
    labels = truth.copy()
    labels[3], labels[20] = 1, 0  # an a that is called b, and a c that is called a
    result = confusions(learnt(embeddings, labels))
    assert {(s.name, s.label, s.looks_like) for s in result.suspects} == {("3.jpg", "b", "a"), ("20.jpg", "a", "c")}
    assert result.counts.tolist() == [[7, 0, 1], [1, 8, 0], [0, 0, 7]]
    assert sorted(result.pairs) == [(0, 2, 1), (1, 0, 1)]
    assert result.number == 24 and result.alone == 0
    for suspect in result.suspects:
        assert suspect.probability < 0.5 < suspect.other_probability
        assert suspect.beside.label == suspect.looks_like and suspect.beside.name != suspect.name
    order = [s.probability for s in result.suspects]
    assert order == sorted(order)


def test_an_image_alone_in_its_class_is_not_judged() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    result = confusions(learnt(np.eye(3)[labels] + 0.01 * np.arange(5)[:, None], labels))
    assert result.number == 4 and result.alone == 1 and result.suspects == [] and result.pairs == []


@pytest.mark.parametrize("name", ["mislabelled.csv", "explain.json", "index.html"])
def test_nobody_elses_file_is_replaced(checkpoint, folders, tmp_path, capsys, name: str) -> None:
    (tmp_path / name).write_text("mine")
    assert explain.main([str(checkpoint), "--support", str(folders), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / name}: was not written by an earlier run")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_the_page_and_the_files(checkpoint, folders, tmp_path, capsys) -> None:
    shutil.copytree(folders, tmp_path / "set")
    shutil.copy(folders / "red" / "3.png", tmp_path / "set" / "blue" / "wrong.png")
    words = [str(checkpoint), "--support", str(tmp_path / "set"), "--modes", "all", "--out", str(tmp_path / "out")]
    assert explain.main(words) == 0
    printed = capsys.readouterr().out
    assert re.search(r"right, each by the others: \d+ of 13 images", printed)
    assert "blue taken for red: 1" in printed
    head, *rows = csv.reader((tmp_path / "out/mislabelled.csv").read_text().splitlines())
    assert head == ["image", "class", "looks_like", "p(class)", "nearest"]
    wrong = next(row for row in rows if row[0].endswith("wrong.png"))
    assert wrong[1:3] == ["blue", "red"] and wrong[4].endswith("red/3.png")
    content = json.loads((tmp_path / "out/explain.json").read_text())
    assert content["images"] == 13 == sum(map(sum, content["confusion"])) and content["classes"] == ["blue", "green", "red"]
    page = (tmp_path / "out/index.html").read_text()
    sources = re.findall(r'src="([^"]+)"', page)
    assert "confusion.png" in sources and all((tmp_path / "out" / source).is_file() for source in sources)


@pytest.mark.parametrize("names", [["blue"], ["blue", "red"]])
def test_what_cannot_be_confused(names, checkpoint, folders, tmp_path, capsys) -> None:
    for name in names:
        (tmp_path / "set" / name).mkdir(parents=True)
        shutil.copy(folders / name / "0.png", tmp_path / "set" / name)
    assert explain.main([str(checkpoint), "--support", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 2
    assert "nothing can be confused" in capsys.readouterr().err
