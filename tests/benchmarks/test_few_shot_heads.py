"""Heads side by side: nested draws, equal answers of equal heads, and the file that a table is made of."""

import json

import pytest
import torch
from PIL import Image

from repmet.benchmarks import few_shot_heads
from repmet.benchmarks.few_shot_heads import LOGISTIC, draw, heads, measure
from repmet.benchmarks.tables import few_shot_images as _tables  # noqa: F401  (registers them)
from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.registry import render


def world() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat_interleave(9)
    return torch.eye(5, 8)[labels] + 0.5 * torch.randn(45, 8, generator=generator), labels


def test_supports_are_nested_and_never_asked_about() -> None:
    _, labels = world()
    supports, asked = draw(labels, [1, 2, 4], 3, seed=1)
    assert set(supports[1].tolist()) < set(supports[2].tolist()) < set(supports[4].tolist())
    assert not set(supports[4].tolist()) & set(asked.tolist())
    assert torch.bincount(labels[asked]).tolist() == [3] * 5 and torch.bincount(labels[supports[2]]).tolist() == [2] * 5
    other, _ = draw(labels, [1, 2, 4], 3, seed=2)
    assert supports[4].tolist() != other[4].tolist()


def test_equal_heads_answer_alike() -> None:
    embeddings, labels = world()
    supports, asked = draw(labels, [4], 5, seed=0)
    there = heads()
    answers = {
        name: head(embeddings[supports[4]], labels[supports[4]], 5, embeddings[asked]) for name, head in there.items()
    }
    assert torch.equal(answers["nearest class mean"], answers["nearest centroid, scikit-learn"])
    if "Prototypical Networks, easyfsl" in there:
        assert torch.equal(answers["nearest class mean"], answers["Prototypical Networks, easyfsl"])
    assert (answers["RepMet"] == labels[asked]).float().mean() > 0.5


def test_from_pictures_to_the_table(tmp_path, monkeypatch, capsys) -> None:
    folders = tmp_path / "colours"
    for name in ("blue", "green", "red"):
        (folders / name).mkdir(parents=True)
        for k in range(4):
            Image.new("RGB", (20 + k, 20), name).save(folders / name / f"{k}.png")
    monkeypatch.setattr("repmet.benchmarks.embedded_folders.CACHE", tmp_path / "cache")
    section = {"type": "Conv4", "in_channels": 3, "width": 8, "image_size": 16}
    classifier = few_shot_heads.FewShotClassifier
    monkeypatch.setattr(few_shot_heads, "FewShotClassifier", lambda encoder: classifier(section))
    words = [str(folders), "--shot", "1", "2", "8", "--draws", "2", "--out", str(tmp_path / "heads.json")]
    assert few_shot_heads.main(words) == 0
    assert "12 images of 3 classes" in capsys.readouterr().out
    content = json.loads((tmp_path / "heads.json").read_text())
    assert {row["shot"] for row in content["rows"]} == {1, 2}  # of four images a class eight cannot be shown
    run = run_of(content, family="few_shot", name="heads", revision="abc", commands=["python -m x"])
    text = render("few-shot-heads", [run])
    assert text.count("| RepMet - logistic regression |") == 1 and LOGISTIC in text
    assert len(list((tmp_path / "cache").glob("embedded_*.pt"))) == 1
    assert few_shot_heads.main([str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_class_needs_an_image_to_ask_about() -> None:
    with pytest.raises(ValueError, match="two images"):
        measure(torch.randn(2, 3), torch.arange(2), [1], 1, 5)
