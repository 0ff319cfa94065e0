"""Checkpoints: safe to read, whole on disk, with their experiment; one message for each file that is no good."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import CheckpointLoader

import repmet.experiments.running.safe_loaders  # noqa: F401  (puts our readers in the place of mmengine's)
from repmet.data.files import atomic
from repmet.errors import UserError
from repmet.experiments.running.checkpoints import (
    check_weights,
    experiment_in,
    experiment_of,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


class Payload:
    """What an attacker would put into a pickle."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_plain_values_survive_the_round_trip(tmp_path):
    value = {
        "state_dict": OrderedDict(w=torch.arange(3.0)),
        "meta": {"score": np.float64(0.1), "classes": ("a", "b"), "path": Path("x"), "n": np.int64(3), "flag": True},
        "array": np.eye(2),
        "set": {3, 1},
    }
    save_checkpoint(value, tmp_path / "a.pth")
    read = load_checkpoint(tmp_path / "a.pth")
    assert torch.equal(read["state_dict"]["w"], torch.arange(3.0))
    assert read["meta"] == {"score": 0.1, "classes": ("a", "b"), "path": "x", "n": 3, "flag": True}
    assert read["array"] == [[1.0, 0.0], [0.0, 1.0]]
    assert read["set"] == [1, 3]
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("loader", [load_checkpoint, lambda p: CheckpointLoader.load_checkpoint(str(p))])
def test_never_unpickles_objects(tmp_path, monkeypatch, loader):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": Payload()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"bad\.pth: holds .*unpickling objects can run code"):
        loader(tmp_path / "bad.pth")
    assert not (tmp_path / "executed").exists()


def test_damaged_and_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pth")
    save_checkpoint({"state_dict": {"w": torch.zeros(1000)}}, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"cut\.pth: "):
            load_checkpoint(tmp_path / "cut.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="it holds a list"):
        load_checkpoint(tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"text\.pth: "):
        load_checkpoint(tmp_path / "text.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match=r"old\.pth: "):
        load_checkpoint(tmp_path / "old.pth")


def _files(whole: bytes) -> dict[str, bytes]:
    """What people take for a checkpoint."""
    return {
        "junk": b"\x00\xff\x13ab",
        "a control character": b"ab\x1fcd",
        "a number": b"I1\n.",
        "web page": b"<!DOCTYPE html><html>404</html>",
        "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "text": b"hello world\n",
        "an image": b"\x89PNG\r\n\x1a\n" + bytes(40),
        "an archive": b"PK\x03\x04" + bytes(60),
        "old magic": b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
        **{f"a tenth {k}": whole[: len(whole) * k // 10] for k in range(10)},
        **{f"five bytes {k}": bytes(np.random.default_rng(k).integers(0, 256, 5, np.uint8)) for k in range(40)},
    }


def test_whatever_is_no_checkpoint_is_called_so_and_never_code(tmp_path):
    save_checkpoint({"state_dict": {"w": torch.arange(500.0)}, "meta": {"a": 1}}, tmp_path / "a.pth")
    for name, content in _files((tmp_path / "a.pth").read_bytes()).items():
        (tmp_path / "none.pth").write_bytes(content)
        with pytest.raises(UserError, match=r"none\.pth: (damaged, or )?no checkpoint") as caught:
            load_checkpoint(tmp_path / "none.pth")
        said = str(caught.value)
        assert "run code" not in said and "weights_only" not in said and "\n" not in said, name
        assert len(said) < 120 + len(str(tmp_path)), said
        assert (name == "git-lfs") == ("git lfs pull" in said) and (name == "web page") == ("web page" in said)


def test_a_flipped_bit_is_never_taken_for_a_weight(tmp_path):
    """torch writes checksums, and does not look at them when it reads."""
    weights = torch.randn(500)
    save_checkpoint({"state_dict": {"w": weights}, "meta": {"a": 1}}, tmp_path / "a.pth")
    whole, refused = (tmp_path / "a.pth").read_bytes(), 0
    for place in range(3, len(whole), 37):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        (tmp_path / "b.pth").write_bytes(flipped)
        try:
            loaded = load_checkpoint(tmp_path / "b.pth")
        except UserError as error:
            assert str(error).startswith(f"{tmp_path / 'b.pth'}: damaged, or no checkpoint")
            refused += 1
        else:  # between the parts
            assert torch.equal(loaded["state_dict"]["w"], weights) and loaded["meta"] == {"a": 1}
    assert refused > 2000 / 37
    start = whole.index(weights.numpy().tobytes())
    (tmp_path / "b.pth").write_bytes(whole[: start + 8] + b"\x00" + whole[start + 9 :])
    with pytest.raises(UserError, match=r"b\.pth: damaged.*data/0 is not what was written: fetch or save it again"):
        load_checkpoint(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("an image", "a picture"),
        ("text", "a text file"),
        ("an archive", "an archive that is cut off"),
        ("a tenth 0", "the file is empty"),
        ("a tenth 5", "an archive that is cut off"),
        ("junk", "torch.save did not write it"),
        ("a control character", "torch.save did not write it"),
    ],
)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, name, kind):
    save_checkpoint({"state_dict": {"w": torch.arange(500.0)}}, tmp_path / "a.pth")
    (tmp_path / "none.pth").write_bytes(_files((tmp_path / "a.pth").read_bytes())[name])
    with pytest.raises(UserError, match=kind):
        load_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("form", ["repmet-classes-1", "repmet-classes-2", "repmet-representatives-1"])
def test_a_file_of_classes_holds_no_experiment_and_is_called_so(tmp_path, form):
    save_checkpoint({"format": form}, tmp_path / "classes.pth")
    with pytest.raises(UserError, match=r"classes\.pth: holds classes .* and no network"):
        experiment_of(tmp_path / "classes.pth")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"state_dict": [1]}, "state_dict"),
        ({"state_dict": {"w": 1}}, "state_dict"),
        ({"state_dict": [1], "meta": [1]}, "state_dict"),  # the first of those that are wrong
        ({"state_dict": {}, "meta": [1]}, "meta"),
        ({"state_dict": {}, "meta": {"experiment": "x"}}, "meta.experiment"),
        ({"state_dict": {}, "meta": {"experiment": {"yaml": 3}}}, "meta.experiment"),
        ({"state_dict": {}, "meta": {"training": 4}}, "meta.training"),
    ],
)
def test_parts_that_are_not_what_they_are_called(tmp_path, content, part):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=rf"odd\.pth: damaged, or no checkpoint \(its {part} is none\)"):
        load_checkpoint(tmp_path / "odd.pth")


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    save_checkpoint({"n": 1}, path)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint({"n": 2}, path)
    assert load_checkpoint(path) == {"n": 1}


def test_latest_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for name in ("epoch_9.pth", "epoch_10.pth", "best_x_epoch_11.pth"):
        (tmp_path / name).touch()
    assert latest_checkpoint(tmp_path) == tmp_path / "epoch_10.pth"
    (tmp_path / "last_checkpoint").write_text("/elsewhere/before/it/moved/epoch_9.pth")
    assert latest_checkpoint(tmp_path) == tmp_path / "epoch_9.pth"
    (tmp_path / "last_checkpoint").write_text("epoch_12.pth")  # deleted by hand
    assert latest_checkpoint(tmp_path) == tmp_path / "epoch_10.pth"


def test_weights_of_another_model_are_named():
    model = torch.nn.Linear(3, 2)
    check_weights(model, model.state_dict(), "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: weight has shape \(5, 3\), the model's has \(2, 3\)"):
        check_weights(model, torch.nn.Linear(3, 5).state_dict(), "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: lacks bias"):
        check_weights(model, {"weight": model.weight}, "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: has in addition x and 1 more"):
        check_weights(model, {**model.state_dict(), "x": model.bias, "y": model.bias}, "a.pth")


def test_a_file_without_experiment(tmp_path):
    save_checkpoint({"state_dict": {}, "meta": {}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: embeds no experiment"):
        experiment_of(tmp_path / "a.pth")
    for checkpoint in ({}, {"meta": None}, {"meta": [1]}, {"meta": {"experiment": "x"}}):
        with pytest.raises(UserError, match=r"a\.pth: embeds no experiment"):
            experiment_in(checkpoint, "a.pth")


def test_the_experiment_that_a_file_was_trained_by(tmp_path):
    meta = {"experiment": {"yaml": "tree: detection\nmodel: {neck: [1, 2]}\n", "name": "mine"}}
    save_checkpoint({"state_dict": {}, "meta": meta}, tmp_path / "a.pth")
    cfg = experiment_of(tmp_path / "a.pth")
    assert (cfg.tree, cfg.model.neck, cfg.experiment_name) == ("detection", [1, 2], "mine")


def test_counters_of_batches_may_be_absent_and_nothing_else():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    state = OrderedDict(model.state_dict())
    del state["1.num_batches_tracked"]
    check_weights(model, state, "a.pth")
    for name in ("1.running_mean", "0.bias"):
        with pytest.raises(ValueError, match=rf"a\.pth: lacks {name}"):
            check_weights(model, {k: v for k, v in state.items() if k != name}, "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: has in addition 2\.more"):
        check_weights(model, {**state, "2.more": torch.zeros(1)}, "a.pth")
