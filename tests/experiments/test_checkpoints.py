"""Checkpoints: safe to read, whole on disk, with their experiment; one message for each file that is no good."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from experiments import atomic
from experiments.checkpoints import (
    check_weights,
    experiment_of,
    history,
    latest_checkpoint,
    load_checkpoint,
    plain,
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


def test_history_buffer_round_trip():
    buffer = HistoryBuffer([0.1, 0.2, 0.7], [1, 2, 1])
    again = history(plain({"b": buffer})["b"])
    assert again.mean() == buffer.mean()
    assert again.data[0].tolist() == [0.1, 0.2, 0.7]


def test_plain_names_what_it_cannot_hold():
    with pytest.raises(TypeError, match=r"checkpoint\.meta\.f is a function"):
        plain({"meta": {"f": lambda: 0}})


@pytest.mark.parametrize("loader", [load_checkpoint, lambda p: CheckpointLoader.load_checkpoint(str(p))])
def test_never_unpickles_objects(tmp_path, monkeypatch, loader):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": Payload()}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"bad\.pth: holds .*unpickling objects can run code"):
        loader(tmp_path / "bad.pth")
    assert not (tmp_path / "executed").exists()


def test_schemes_that_read_without_safety_are_refused():
    with pytest.raises(ValueError, match=r"s3://bucket/a\.pth: this scheme is not supported"):
        CheckpointLoader.load_checkpoint("s3://bucket/a.pth")


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
