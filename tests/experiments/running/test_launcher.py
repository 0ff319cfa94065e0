"""The train command and `build_runner`, on the toy tree."""

import os
import weakref

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.visualization import Visualizer
from tensorboardX.proto.event_pb2 import Event

from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running.checkpoints import experiment_of, latest_checkpoint, load_checkpoint
from repmet.experiments.running.launcher import build_runner, train_command
from repmet.experiments.running.runner import ExperimentRunner


def train(*argv) -> int:
    return train_command("toy", "doc", {"--size": ("data.size", "points", int)}, [str(a) for a in argv])


@HOOKS.register_module()
class SpoilingHook(Hook):
    """Makes the weights infinite after a number of iterations, as a step too large does."""

    priority = "HIGHEST"

    def __init__(self, at: int) -> None:
        self.at = at

    def after_train_iter(self, runner, *_, **__) -> None:
        if runner.iter + 1 == self.at:
            torch.nn.init.constant_(runner.model.linear.weight, torch.inf)


def events(folder) -> list[Event]:
    """Every event of every file: a TFRecord is length (8 bytes), its checksum (4), the data, their checksum (4)."""
    records = []
    for path in sorted(folder.glob("events.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            records.append(Event.FromString(data[at + 12 : at + 12 + length]))
            at += 16 + length
    return records


def test_run_folder(toy_yaml, tmp_path, capsys):
    folder = tmp_path / "run"
    assert (
        train(toy_yaml, "--work-dir", folder, "--size", "16", "--seed", "5", "--cfg-options", "train_cfg.max_epochs=3") == 0
    )
    printed = capsys.readouterr()
    assert printed.out.strip().endswith(f"checkpoint: {folder / 'epoch_3.pth'}")
    assert "eta:" in printed.err + printed.out
    assert {p.name for p in folder.iterdir()} >= {"epoch_2.pth", "epoch_3.pth", "last_checkpoint", "toy.yaml", "tensorboard"}
    assert not (folder / "epoch_1.pth").exists()
    assert not list(folder.glob(".*.part"))

    checkpoint = load_checkpoint(folder / "epoch_3.pth")
    assert checkpoint["meta"]["experiment"]["tree"] == "toy"
    assert checkpoint["meta"]["experiment"]["classes"] == ["a", "b", "c"]
    assert checkpoint["meta"]["seed"] == 5
    cfg = experiment_of(folder / "epoch_3.pth")
    assert cfg.experiment_name == "toy"
    assert cfg.data == {"size": 16, "classes": ["a", "b", "c"]}
    assert cfg.train_cfg.max_epochs == 3
    assert load_experiment(folder / "toy.yaml").data == cfg.data  # what is written beside it runs again

    scalars = {v.tag: (e.step, v.simple_value) for e in events(folder / "tensorboard") for v in e.summary.value}
    assert {"lr", "loss", "loss_fit", "head/norm", "head/class_distance_min", "head/mode_spread"} <= scalars.keys()
    assert scalars["loss"][0] == 12
    labels = (folder / "tensorboard" / "00012" / "head" / "metadata.tsv").read_text()
    assert labels.split("\n")[:3] == ["class\tmode", "a\t0", "a\t1"]


def test_a_checkpoint_rebuilds_its_runner(toy_yaml, tmp_path):
    assert train(toy_yaml, "--work-dir", tmp_path / "run", "--cfg-options", "train_cfg.max_epochs=1") == 0
    path = tmp_path / "run" / "epoch_1.pth"
    runner = build_runner(experiment_of(path), work_dir=tmp_path / "again")
    runner.model.load_state_dict(load_checkpoint(path)["state_dict"], strict=True)
    assert runner.model.head.weight.shape == (3, 2, 3)


def test_two_runners_at_once_are_apart(toy_yaml, tmp_path):
    cfg = load_experiment(toy_yaml)
    before = cfg.to_dict()
    runners = [build_runner(cfg, work_dir=tmp_path / name) for name in "ab"]
    assert all(isinstance(r, ExperimentRunner) for r in runners)
    assert cfg.to_dict() == before
    assert runners[0].visualizer is not runners[1].visualizer
    assert isinstance(runners[0].visualizer, Visualizer)
    assert runners[0].logger is not runners[1].logger
    assert runners[0].message_hub is not runners[1].message_hub


def failure(capsys, *argv) -> str:
    assert train(*argv) == 2
    err = capsys.readouterr().err.strip().split("\n")
    lines = [line for line in err if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in "\n".join(err)
    assert err[-1] == lines[0]
    return lines[0]


def test_errors_are_one_line(toy_yaml, write_yaml, tmp_path, capsys):
    work = ("--work-dir", tmp_path / "run")
    assert "none.yaml: no such experiment file" in failure(capsys, tmp_path / "none.yaml", *work)
    assert "did you mean 'size'?" in failure(capsys, write_yaml("data: {sise: 1}\n"), *work)
    assert "data.classes is empty" in failure(capsys, write_yaml("data: {classes: []}\n"), *work)
    assert "no section train_dataloader" in failure(capsys, write_yaml("tree: toy\n", base=False), *work)
    assert "no such checkpoint to resume from" in failure(capsys, toy_yaml, *work, "--resume", tmp_path / "x.pth")


def test_a_download_that_fails_is_one_line(toy_yaml, tmp_path, capsys, monkeypatch):
    def prepare(cfg):
        raise ConnectionError("could not fetch images.zip:\n  http://x: refused\nput the file there by hand")

    monkeypatch.setattr("toy.experiment.prepare", prepare)
    line = failure(capsys, toy_yaml, "--work-dir", tmp_path / "run")
    assert "could not fetch images.zip: http://x: refused put the file" in line


def test_an_error_in_a_data_worker_is_one_line(toy_yaml, tmp_path, capsys):
    options = ["train_dataloader.dataset.broken=img_3.jpg", "train_dataloader.num_workers=1"]
    line = failure(capsys, toy_yaml, "--work-dir", tmp_path / "run", "--cfg-options", *options)
    assert line == "error: img_3.jpg: truncated image; fetch it again"


def test_experiment_of_another_tree(toy_yaml, capsys):
    assert train_command("detection", "doc", argv=[str(toy_yaml)]) == 2
    assert "an experiment of the toy tree; run python -m toy.train" in capsys.readouterr().err


def test_missing_pretrained_weight_names_both_ways_out(toy_yaml, tmp_path, capsys):
    options = ["model.init_cfg={type: Pretrained, checkpoint: none.pth}"]
    line = failure(capsys, toy_yaml, "--work-dir", tmp_path / "run", "--cfg-options", *options)
    assert "model.init_cfg.checkpoint: pretrained weights" in line
    assert "--cfg-options model.init_cfg.checkpoint=FILE.pth" in line
    assert "--cfg-options model.init_cfg=null" in line


def test_unreachable_pretrained_weight(toy_yaml, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens
    options = ["model.init_cfg={type: Pretrained, checkpoint: 'torchvision://resnet18'}"]
    line = failure(capsys, toy_yaml, "--work-dir", tmp_path / "run", "--cfg-options", *options)
    assert "torchvision://resnet18 are not there" in line
    assert "cannot be downloaded" in line
    assert "--cfg-options model.init_cfg=null" in line


def test_a_run_that_is_written_over_is_said(toy_yaml, tmp_path, capsys):
    said = f"{tmp_path / 'run'} holds a run: its checkpoints are written over"
    for expected in (False, True):
        assert train(toy_yaml, "--work-dir", tmp_path / "run", "--cfg-options", "train_cfg.max_epochs=1") == 0
        assert (said in capsys.readouterr().out) == expected


@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_training_that_diverges_stops_and_keeps_its_last_finite_checkpoint(toy_yaml, tmp_path, capsys, by_epoch):
    run = tmp_path / "run"
    options = ["default_hooks.checkpoint.max_keep_ckpts=-1", "optim_wrapper.optimizer.lr=1e-2", "param_scheduler=[]"]
    loop = "train_cfg={by_epoch: true, max_epochs: 9}" if by_epoch else "train_cfg={by_epoch: false, max_iters: 60}"
    spoilt = "custom_hooks=[{type: SpoilingHook, at: 20}]"
    interval = ["default_hooks.checkpoint={type: CheckpointHook, interval: 6, by_epoch: false}"] if not by_epoch else []
    said = failure(capsys, toy_yaml, "--work-dir", run, "--cfg-options", *options, loop, spoilt, *interval)
    name = "epoch_3.pth" if by_epoch else "iter_18.pth"
    assert "is not finite" in said or "loss is" in said
    assert f"the last finite checkpoint is {run / name}" in said and "learning rate" in said
    assert latest_checkpoint(run) == run / name
    weights = load_checkpoint(run / name)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())


def test_weights_that_are_not_finite_are_never_written(toy_yaml, tmp_path, capsys):
    """The last step of an epoch may spoil them after its loss was fine."""
    spoilt = "custom_hooks=[{type: SpoilingHook, at: 6}]"  # an epoch has six iterations
    said = failure(capsys, toy_yaml, "--work-dir", tmp_path / "run", "--cfg-options", spoilt)
    assert "linear.weight is not finite" in said and "there is no checkpoint yet" in said
    assert not list((tmp_path / "run").glob("*.pth"))


def test_a_run_folder_that_cannot_be_is_named_before_the_training(toy_yaml, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    said = failure(capsys, toy_yaml, "--work-dir", tmp_path / "file" / "run")
    assert said == f"error: {tmp_path / 'file'}: is a file; a folder is needed there"
    full = os.statvfs_result((4096, 4096, 100, 0, 0, 10, 10, 10, 0, 255))
    monkeypatch.setattr("repmet.data.files.atomic.os.statvfs", lambda folder: full)
    said = failure(capsys, toy_yaml, "--work-dir", tmp_path / "run")
    assert "the disk is full" in said and "make room" in said and not list((tmp_path / "run").glob("*.pth"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("optim_wrapper.optimizer.lr=-1", "optim_wrapper: Invalid learning rate: -1"),
        ("train_dataloader.batch_size=-1", "train_dataloader: batch_size should be a positive integer"),
        ("param_scheduler.0.begin=9", "param_scheduler: "),
        ("randomness.seed=-1", "randomness.seed (--seed) is a whole number from 0 to 2^32 - 1, not -1"),
        ("randomness.seed=99999999999999999999", "randomness.seed (--seed) is a whole number"),
        ("train_cfg.max_epochs=0", "train_cfg.max_epochs is a whole number from 1, not 0"),
    ],
)
def test_a_value_that_a_library_refuses_is_named_by_its_section(toy_yaml, tmp_path, capsys, option, said):
    assert said in failure(capsys, toy_yaml, "--work-dir", tmp_path, "--cfg-options", option)


def test_a_defect_shows_where_it_is(toy_yaml, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ValueError("a defect")

    monkeypatch.setattr(torch.nn.functional, "dropout", broken)
    with pytest.raises(ValueError, match="a defect"):
        train(toy_yaml, "--work-dir", tmp_path)


def test_the_weights_that_a_training_starts_from_do_not_stay_in_memory(toy_yaml, tmp_path):
    assert train(toy_yaml, "--work-dir", tmp_path / "a", "--cfg-options", "train_cfg.max_epochs=1") == 0
    options = [f"load_from={tmp_path / 'a' / 'epoch_1.pth'}", "train_cfg.max_epochs=1"]
    runner = build_runner(load_experiment(toy_yaml, options), work_dir=tmp_path / "b")
    seen = []

    class Watch(Hook):
        def after_load_checkpoint(self, runner, checkpoint):
            seen.append(weakref.ref(next(iter(checkpoint["state_dict"].values()))))

        def before_train_iter(self, runner, *_, **__):
            assert seen and all(read() is None for read in seen)

    runner.register_hook(Watch())
    runner.train()


def test_a_flag_is_a_value_and_no_yaml(toy_yaml, tmp_path):
    for typed in ("photos #1", "2012", "~", "no", "1e3", "[a", "a: b"):
        assert load_experiment(toy_yaml, flags={"work_dir": typed}).work_dir == typed
    cfg = load_experiment(toy_yaml, ["work_dir=2012"], {"work_dir": None, "data.size": 5})
    assert cfg.work_dir == 2012 and cfg.data.size == 5


def test_an_environment_variable_is_a_value_where_it_is_quoted(write_yaml, monkeypatch):
    for value in ("photos #1", "it's", 'a "b"', "back\\slash"):
        monkeypatch.setenv("TOY_ROOT", value)
        for quote in "'\"":
            path = write_yaml(f"work_dir: {quote}{{{{$TOY_ROOT:x}}}}/VOC{quote}\n")
            assert load_experiment(path).work_dir == f"{value}/VOC"


def test_load_from_starts_from_given_weights(toy_yaml, tmp_path, capsys):
    assert train(toy_yaml, "--work-dir", tmp_path / "a", "--cfg-options", "train_cfg.max_epochs=1") == 0
    options = [f"load_from={tmp_path / 'a' / 'epoch_1.pth'}", "train_cfg.max_epochs=1", "optim_wrapper.optimizer.lr=0.0"]
    assert train(toy_yaml, "--work-dir", tmp_path / "b", "--cfg-options", *options) == 0
    assert train(toy_yaml, "--work-dir", tmp_path / "c", "--resume", "auto", "--cfg-options", *options) == 0  # none there
    a, b, c = (load_checkpoint(tmp_path / name / "epoch_1.pth") for name in "abc")
    assert torch.equal(a["state_dict"]["linear.weight"], b["state_dict"]["linear.weight"])
    assert torch.equal(a["state_dict"]["linear.weight"], c["state_dict"]["linear.weight"])
    assert c["meta"]["epoch"] == 1
    assert "load_from" in failure(capsys, toy_yaml, "--work-dir", tmp_path / "d", "--cfg-options", "load_from=none.pth")
