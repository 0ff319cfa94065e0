"""The train command of classification: it learns, resumes exactly, stops when validation stalls, and says what is wrong."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from repmet.classification.train import main
from repmet.experiments.running.checkpoints import load_checkpoint
from tests.classification.conftest import CLOSED, MAGNET


def train(*argv: object) -> int:
    return main([str(a) for a in argv])


def failure(capsys: pytest.CaptureFixture, *argv: object) -> str:
    assert train(*argv) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    assert lines[-1].startswith("error: ") and "Traceback" not in "\n".join(lines)
    return lines[-1]


def state(path: Path) -> dict:
    return load_checkpoint(path)["state_dict"]


def test_it_learns_and_keeps_the_best(experiment, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(experiment(), "--work-dir", run) == 0
    assert capsys.readouterr().out.strip().endswith(f"checkpoint: {run / 'epoch_3.pth'}")
    best, last = load_checkpoint(run / "best.pth")["meta"], load_checkpoint(run / "epoch_3.pth")
    assert best["experiment"]["method"] == "ProtoNet" and best["experiment"]["tree"] == "classification"
    assert last["meta"]["validation"]["epoch"] == best["epoch"]
    assert last["meta"]["validation"] == {
        "monitor": "episode_loss", "value": best["validation"]["value"], "epoch": best["epoch"], "stale": 3 - best["epoch"]
    }  # fmt: skip
    losses = last["message_hub"]["log_scalars"]["train/loss"]["log"]
    assert len(losses) == 30 and losses[-10:].mean() < 0.8 * losses[:5].mean()
    assert last["optimizer"]["param_groups"][0]["lr"] == 0.0015


def test_a_resumed_training_ends_with_the_same_bits(experiment, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    path = experiment()
    assert train(path, "--work-dir", whole) == 0
    assert train(path, "--work-dir", parts, "--resume", whole / "epoch_2.pth") == 0
    a, b = load_checkpoint(whole / "epoch_3.pth"), load_checkpoint(parts / "epoch_3.pth")
    assert all(torch.equal(a["state_dict"][k], b["state_dict"][k]) for k in a["state_dict"] | b["state_dict"])
    assert a["meta"]["validation"] == b["meta"]["validation"]


def test_it_stops_when_validation_stalls_also_after_a_resume(experiment, tmp_path):
    still = ["--cfg-options", "optim_wrapper.optimizer.lr=0.0", "train_cfg.max_epochs=9", "custom_hooks.0.patience=2"]
    still += ["custom_hooks.0.monitor=episode_accuracy"]
    # batch norm's running statistics are all that moves; they would, were it not for momentum 0 in no encoder: so the
    # accuracy may change once or twice, then it stalls
    assert train(experiment(), "--work-dir", tmp_path / "run", *still) == 0
    epochs = sorted(int(p.stem.partition("_")[2]) for p in (tmp_path / "run").glob("epoch_*.pth"))
    stopped = epochs[-1]
    assert stopped < 9
    kept = load_checkpoint(tmp_path / "run" / f"epoch_{stopped}.pth")["meta"]["validation"]
    assert kept["stale"] == 2 and kept["epoch"] == stopped - 2
    assert train(experiment(), "--work-dir", tmp_path / "run", "--resume", "auto", *still) == 0
    assert not (tmp_path / "run" / f"epoch_{stopped + 1}.pth").exists()


def test_validation_by_iterations(experiment, tmp_path):
    options = ["custom_hooks.0.by_epoch=false", "custom_hooks.0.interval=4", "train_cfg.max_epochs=1"]
    assert train(experiment(), "--work-dir", tmp_path / "run", "--cfg-options", *options) == 0
    assert load_checkpoint(tmp_path / "run" / "best.pth")["meta"]["iter"] in (4, 8, 10)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["train_dataloader.batch_sampler.way=13"], "way=13 classes a batch, but there are 12"),
        (["train_dataloader.batch_sampler.query=9"], "10 images of each class are needed in a batch, but 'glyph"),
        (["episodes.query=9"], "classes have fewer than 1 support + 9 query images"),
        (["episodes.way=13"], "13-way episodes need 13 classes, the set has 12"),
        (["data.arguments.characters=1"], "data.train: glyph_characters train in None has 1 class"),
        (["data.train=trian"], "trian"),
        (["data.source=glyph_character"], "did you mean 'glyph_characters'?"),
        (["data.val=null"], "data.val is not given"),
        (["episodes.shot=null"], "episodes.shot is not given"),
        (["custom_hooks.0.monitor=acuracy"], "no figure 'acuracy' to monitor"),
        (["train_dataloader.batch_sampler=null", "train_dataloader.batch_size=4"], "ProtoNet learns by episodes"),
        (["model.encoder.image_size=28"], "Conv4 was built for images (B, 1, 28, 28), not (24, 1, 16, 16)"),
        (["model.type=ProtoNett"], "did you mean 'ProtoNet'?"),
        (["data.rot=x"], "did you mean 'root'?"),
        (["train_pipeline=[{type: ToFlot}]"], "did you mean 'ToFloat'?"),
        (["train_pipeline=3"], "train_pipeline is a list of transforms, such as {type: ToFloat}, not 3"),
        (["train_pipeline=[ToFloat]"], "train_pipeline is a list of transforms"),
        (["data.size=-3"], "data.size is a side in pixels, or a list of height and width, not -3"),
        (["data.size=abc"], "data.size is a side in pixels, or a list of height and width, not 'abc'"),
        (["data.size=[16,16,3]"], "data.size is a side"),
        (["data.size=true"], "data.size is a side"),
        (["data.arguments.seed=abc"], "data.arguments.seed is a whole number from 0, not 'abc'"),
        (["optim_wrapper.optimizer.lr=abc"], "optim_wrapper.optimizer.lr is no number: 'abc'"),
    ],
)
def test_errors_are_one_line(experiment, tmp_path, capsys, options, said):
    assert said in failure(capsys, experiment(), "--work-dir", tmp_path / "run", "--cfg-options", *options)


FOLDER = """
data:
  _delete_: true
  source: image_folder
  arguments: {images_per_class: {train: 5, test: 1}, val_per_class: 1}
  size: 8
  train: train
  val: val
  test: test
model: {encoder: {in_channels: 3}}
train_dataloader: {batch_sampler: {classes: 2}}
"""


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: None, None),
        (lambda root: [p.write_bytes(b"no picture") for p in (root / "b").iterdir()], "cannot be read as an image"),
        (lambda root: empty(root / "b"), "b: the class folder holds no image"),
        (lambda root: shutil.rmtree(root / "b"), "has 1 class ('a'); there must be two to tell apart"),
        (lambda root: (root / "b" / "3.png").unlink(), "class 'b' has 5 images; 6 are wanted"),
        (lambda root: [shutil.rmtree(p) for p in root.iterdir()], "holds no class folders"),
        (lambda root: shutil.rmtree(root), "no such folder"),
    ],
)
def test_a_folder_that_is_no_good_is_refused_before_training(experiment, tmp_path, capsys, spoil, said):
    root = tmp_path / "images"
    for i in range(12):
        path = root / "ab"[i % 2] / f"{i // 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (20 * i, 0, 0)).save(path)
    spoil(root)
    options = (experiment(CLOSED, over=FOLDER), "--work-dir", tmp_path / "run", "--data", root)
    if said is None:
        assert train(*options, "--cfg-options", "train_cfg.max_epochs=1") == 0
    else:
        assert said in failure(capsys, *options)
    assert bool(list((tmp_path / "run").glob("*.pth"))) == (said is None)


def test_the_checkpoint_of_another_method_is_no_start(experiment, tmp_path, capsys):
    assert train(experiment(CLOSED), "--work-dir", tmp_path / "a", "--cfg-options", "train_cfg.max_epochs=1") == 0
    other = experiment(CLOSED, over=MAGNET, name="other.yaml")
    said = failure(capsys, other, "--work-dir", tmp_path / "b", "--resume", tmp_path / "a" / "epoch_1.pth")
    assert "epoch_1.pth: " in said and "belongs to another experiment" in said


def test_importing_the_command_imports_little():
    """At most 1.2 times what torch, torchvision and mmengine's runner take, by the processor's time and in one process: no
    other load on the machine shows in it."""
    code = (
        "import time, sys, torch, torchvision, mmengine.runner; without = time.process_time(); "
        "import classification.train, classification.experiment; print(time.process_time() / without); "
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ratio, packages = done.stdout.strip().split("\n")
    assert float(ratio) < 1.2
    late = {"sklearn", "pytorch_metric_learning", "matplotlib", "mmdet", "mmcv", "csrc", "pandas", "detection"}
    assert not late & set(packages.split())
