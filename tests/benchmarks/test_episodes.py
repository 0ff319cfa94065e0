"""The few-shot benchmark: equal networks on both sides, the scaling, what happens without easyfsl, and its cases."""

import importlib.util
import json

import pytest
import torch

from repmet.benchmarks import cluster_refresh, episodes, image_folders
from repmet.benchmarks.measure import Comparison
from repmet.benchmarks.tables.metrics_files import run_of
from repmet.benchmarks.tables.pages import render
from repmet.experiments.running.mixed_precision import cpu_multiplies_bfloat16

needs_easyfsl = pytest.mark.skipif(
    importlib.util.find_spec("easyfsl") is None, reason="needs easyfsl, no dependency of ours"
)


@pytest.fixture
def few_images(monkeypatch, tmp_path):
    monkeypatch.setattr(image_folders, "lay_out", lambda data, folder: image_folders.glyphs(folder, 62, 18, 30) or "a few")
    return tmp_path


@pytest.mark.parametrize("training", [True, False])
def test_the_published_conv4_is_the_same_function(training):
    encoder = episodes.proto_net().encoder
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            torch.nn.init.uniform_(module.weight, 0.5, 2)
    plain = episodes.published_conv4(encoder)
    images = torch.rand(6, 3, 28, 28)
    torch.testing.assert_close(encoder.train(training)(images), plain.train(training)(images), rtol=1e-4, atol=1e-5)


def test_a_scaled_row():
    row = episodes.scaled(Comparison("c", 10.0, "p", 40.0, 4.0, 0.5), 1 / 10, 5)
    assert row == Comparison("c", 1.0, "p", 200.0, 200.0, 25.0)


def test_generated_characters_are_dark_on_white(tmp_path):
    image_folders.glyphs(tmp_path, characters=3, per_class=4, size=40)
    images = episodes.images_of(tmp_path / "test")
    assert images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    ink = images.__getitems__(range(12))["inputs"]
    assert ink.shape == (12, 3, 28, 28) and 0.02 < ink.mean() < 0.5


def test_omniglot_is_unpacked(repmet_data, tmp_path, monkeypatch):
    monkeypatch.setattr(image_folders, "SETS", {"test": "evaluation"})
    assert image_folders.lay_out(repmet_data, tmp_path) == "Omniglot"
    folders = list((tmp_path / "test").iterdir())
    assert len(folders) == 659 and all(len(list(folder.iterdir())) == 20 for folder in folders)


def test_without_easyfsl_it_is_said_how_to_get_it(monkeypatch, capsys, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "easyfsl" else find(name, *more))
    monkeypatch.setattr(episodes, "refresh_cases", lambda threads, seconds: cluster_refresh.refresh_cases(1, 0.01, (10,)))
    results = episodes.main(["--out", str(tmp_path / "out.json"), "--threads", "1"])
    printed = capsys.readouterr().out
    assert "pip install --no-deps --target PEERS easyfsl==1.5.0 pandas tqdm" in printed and "3x is the aim" in printed
    assert [r.case for r in results] == ["k-means, 20,000 x 64, k = 3, 10 classes"]
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["results"][0]["peer"] == "scikit-learn" and content["env"]["threads"] == 1
    table = render("benchmarks", [run_of(content, family="benchmarks", name="out", revision="abc")])
    assert table.startswith("**out** (") and "| k-means, 20,000 x 64, k = 3, 10 classes |" in table


def test_a_worse_clustering_is_not_timed(monkeypatch):
    monkeypatch.setattr(cluster_refresh, "SLACK", 0.5)
    with pytest.raises(AssertionError, match="k-means of 10 classes: squared distances of"):
        list(cluster_refresh.refresh_cases(1, 0.01, (10,)))


@needs_easyfsl
def test_the_cases_against_easyfsl(few_images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(episodes, "PER_CALL", 1)
    options = ["--seconds", "0", "--threads", "1", "--episodes", "50", "--peer-episodes", "14", "--train", "2"]
    precision = "bfloat16" if cpu_multiplies_bfloat16() else "float32"
    results = episodes.main([*options, "--only", "training", "--out", str(tmp_path / "out.json")])
    assert [r.peer for r in results] == [
        "easyfsl in float32, conv4 of ours",
        "easyfsl in float32, conv4 as published",
        "easyfsl in float32, conv4 as published, 1 loading processes",
        "easyfsl in float32, conv4 of ours",
    ]
    assert all(r.case.startswith(f"training in {precision},") for r in results[:3])
    assert results[3].case.startswith("equal precision: training in float32,")
    assert json.loads((tmp_path / "out.json").read_text())["env"]["images"] == "a few"
    results = episodes.main([*options, "--only", "evaluation"])
    assert [r.case.split(",")[0] for r in results] == ["evaluation from files", "evaluation from embeddings"]
    assert all(r.peer == "easyfsl (14 episodes measured)" for r in results)
    assert "accuracy: ours" in capsys.readouterr().out


@needs_easyfsl
def test_different_pixels_or_answers_are_noticed(tmp_path):
    from repmet.benchmarks import easyfsl_peer

    image_folders.glyphs(tmp_path, characters=6, per_class=16, size=30)
    images, theirs = episodes.images_of(tmp_path / "test"), easyfsl_peer.image_set(tmp_path / "test", 28)
    model = easyfsl_peer.PrototypicalNetworks(episodes.proto_net().encoder)
    embeddings = model.backbone.eval()(images.__getitems__(range(len(images)))["inputs"]).detach()
    episodes.check_pixels(images, theirs)
    episodes.check_episodes(embeddings, images.labels, easyfsl_peer, theirs, model, 5)
    with pytest.raises(AssertionError):
        episodes.check_episodes(embeddings.flip(0), images.labels, easyfsl_peer, theirs, model, 5)
    images.images = images.images.flip(0)
    with pytest.raises(AssertionError):
        episodes.check_pixels(images, theirs)
