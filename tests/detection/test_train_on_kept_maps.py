"""`features: cached` as a user types it: it trains, goes on exactly where it was, and looks at an image once."""

import json
from pathlib import Path

import pytest
import torch
from small_photos import PHOTOS, SMALL, pets

from repmet.data.files import tensor_cache
from repmet.detection import evaluate, kept_maps_dataset, train
from repmet.detection.checkpoint import open_detector
from repmet.detection.shipped import main as ship
from repmet.experiments.running.checkpoints import load_checkpoint

pytest.importorskip("timm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return pets(tmp_path_factory.mktemp("pets"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    before, tensor_cache.CACHE = tensor_cache.CACHE, tmp_path_factory.mktemp("cache")
    yield tensor_cache.CACHE
    tensor_cache.CACHE = before


def options(folder: Path, **changes) -> list[str]:
    values = SMALL | {"data": [{"name": "pets", "root": str(folder)}]} | changes
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def run(folder: Path, work_dir: Path, *arguments: str, **changes) -> int:
    return train.main([str(PHOTOS), "--work-dir", str(work_dir), *arguments, "--cfg-options", *options(folder, **changes)])


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp("run")
    assert run(folder, work_dir) == 0
    return work_dir


def test_the_backbone_stays_and_the_rest_is_trained(trained):
    first, last = (load_checkpoint(trained / f"epoch_{n}.pth")["state_dict"] for n in (1, 2))
    changed = {name.partition(".")[0] for name in first if not torch.equal(first[name], last[name])}
    assert changed == {"neck", "rpn_head", "roi_head"}


def test_a_second_training_reads_no_image_and_ends_in_the_same_weights(folder, trained, tmp_path, monkeypatch):
    def read(*_, **__):
        raise AssertionError("an image was read")

    monkeypatch.setattr(kept_maps_dataset, "bgr", read)
    assert run(folder, tmp_path) == 0
    first, second = (load_checkpoint(p / "epoch_2.pth")["state_dict"] for p in (trained, tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resumed_it_ends_where_it_would_have_ended(folder, trained, tmp_path):
    assert run(folder, tmp_path, "--resume", str(trained / "epoch_1.pth")) == 0
    first, second = (load_checkpoint(p / "epoch_2.pth")["state_dict"] for p in (trained, tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_maps_beyond_the_limit_are_made_each_time(folder, trained, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache")
    with pytest.warns(UserWarning, match=r"0\.0 GB are kept, the limit"):
        assert run(folder, tmp_path, **{"feature_cache.gigabytes": 2e-5, "train_cfg.max_epochs": 1}) == 0
    assert sum(f.stat().st_size for f in (tmp_path / "cache").rglob("*.pt")) < 4e4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": "chached"}, "features is `cached` or left out, not 'chached'"),
        ({"data": {"root": "x"}}, "features: cached trains on a list of sets"),
        ({"data": {"root": "x", "train": "trainval"}}, "data.root: x is not there"),
        ({"data": [{"name": "pets", "rot": "x"}]}, "unknown key data.0.rot; did you mean 'root'?"),
        ({"model.backbone.frozen": False}, "keeps the maps of a frozen backbone, and this one is trained"),
        ({"model.backbone.weights": "none.pth"}, "weights none.pth of test_efficientnet: no such file. Ways out:"),
    ],
)
def test_bad_input_is_one_clear_line(folder, tmp_path, capsys, changes, message):
    assert run(folder, tmp_path, **changes) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_with_novel_classes_is_trained_on_base_classes_and_evaluated_by_episodes(tmp_path):
    """With a further set, whose images with a novel class are left out by name."""
    folder, further = pets(tmp_path / "pets", 16), pets(tmp_path / "further")
    marks = json.loads((folder / "instances.json").read_text())
    marks["annotations"] = [mark for mark in marks["annotations"] if mark["category_id"] == 1 or mark["image_id"] % 2]
    (folder / "instances.json").write_text(json.dumps(marks))
    lists = {"train": "all", "base_test": None, "support": "all", "query": "all"}
    sets = [{"name": "more", "root": str(further), "drop": ["bird"]}]
    data = {"root": str(folder), **lists, "held_out": "dog", "sets": sets}
    episodes = {"way": 1, "shot": 1, "query": 1, "episodes": 2, "methods": ["logistic", "baseline_roi"]}
    mini = PHOTOS.with_name("repmet_lite0_voc_mini.yaml")
    changes = SMALL | {"data": data, "train_cfg.max_epochs": 1} | {f"episodes.{k}": v for k, v in episodes.items()}
    typed = ["--cfg-options", *(f"{key}={json.dumps(value)}" for key, value in changes.items())]
    assert train.main([str(mini), "--work-dir", str(tmp_path / "run"), *typed]) == 0
    assert load_checkpoint(tmp_path / "run/epoch_1.pth")["meta"]["experiment"]["base_classes"] == ["cat"]
    assert evaluate.main([str(mini), str(tmp_path / "run"), "--out", str(tmp_path / "run"), *typed]) == 0
    rows = json.loads((tmp_path / "run/metrics.json").read_text())["results"]
    assert [row["method"] for row in rows] == ["logistic", "baseline_roi"]


def test_the_trained_part_alone_gives_the_same_detector(folder, trained, tmp_path, capsys, monkeypatch):
    path = tmp_path / "pets.safetensors"
    assert ship([str(trained), "--out", str(path)]) == 0
    assert "MB, sha256 " in capsys.readouterr().out
    assert str(folder) not in path.read_bytes().decode("latin1")  # sets are named, not where they lay
    whole = open_detector(trained)
    torch.save(
        {k.removeprefix("backbone.trunk."): v for k, v in whole.model.state_dict().items() if "trunk" in k},
        tmp_path / "b.pth",
    )
    from repmet.detection import checkpoint as module

    read = module.read_trained_part

    def with_weights(path):  # as a package would bring them
        loaded = read(path)
        experiment = loaded["meta"]["experiment"]
        experiment["yaml"] = experiment["yaml"].replace("weights: null", f"weights: {tmp_path / 'b.pth'}")
        return loaded

    monkeypatch.setattr(module, "read_trained_part", with_weights)
    part = open_detector(path)
    assert part.cfg.data.base_classes == ["pets/cat", "pets/dog"]
    ours, theirs = part.model.state_dict(), whole.model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    monkeypatch.setattr(module, "read_trained_part", read)
    with pytest.raises(ValueError, match=r"pets\.safetensors: was trained on other weights of the backbone"):
        open_detector(path)  # at random


def test_files_that_are_no_trained_part(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(ValueError, match=r"other\.safetensors: holds no trained part of a detector"):
        open_detector(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"bad\.safetensors: damaged, or no safetensors file"):
        open_detector(tmp_path / "bad.safetensors")
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such weights"):
        open_detector(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "photos"], "trains on 3 sets of images, so that no one folder or class can be put in their place"),
        ([], "names sets of images to train on and none to evaluate on"),
    ],
)
def test_an_experiment_on_many_sets_is_not_evaluated_by_episodes(trained, capsys, words, message) -> None:
    assert evaluate.main([str(PHOTOS), str(trained), *words]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
