"""Logging to a service: what W&B and Comet are asked for, and their files where they are installed; no network."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest
import torch

from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running.launcher import build_runner
from tests.experiments.running.test_launcher import events, train

FAKE_WANDB = """
calls = []
class Run:
    def define_metric(self, name, step_metric=None): calls.append(("define", name, step_metric))
    def log(self, scalars): calls.append(("log", scalars))
    def finish(self): calls.append(("finish",))
def init(**arguments):
    if arguments["project"] == "closed":
        raise RuntimeError("No API key configured.\\nSecond line")
    calls.append(("init", arguments))
    return Run()
"""
FAKE_COMET = """
calls = []
class ExperimentConfig:
    def __init__(self, **arguments): self.arguments = arguments
class Run:
    def log_parameters(self, config): calls.append(("parameters", config))
    def log_other(self, name, value): calls.append(("other", name, value))
    def log_metrics(self, scalars, step): calls.append(("log", scalars, step))
    def end(self): calls.append(("finish",))
def start(experiment_config, **arguments):
    calls.append(("start", arguments | experiment_config.arguments))
    return Run()
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a module of that name before any that is installed, and returns it."""

    def install(name: str, text: str) -> SimpleNamespace:
        folder = tmp_path / "fakes"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    yield install
    for name in ("wandb", "comet_ml"):
        sys.modules.pop(name, None)


def section(service: str, **options: str) -> str:
    return "online_log={" + ", ".join(f"{k}: {v}" for k, v in ({"service": service} | options).items()) + "}"


def logged(calls: list) -> dict:
    return {name: value for call in calls if call[0] == "log" for name, value in call[1].items()}


def test_wandb_gets_the_run_and_its_scalars(toy_yaml, tmp_path, fake):
    wandb, run = fake("wandb", FAKE_WANDB), tmp_path / "run_7"
    options = ["--cfg-options", section("wandb", project="dml", group="cars"), "train_cfg.max_epochs=1"]
    assert train(toy_yaml, "--work-dir", run, "--seed", "7", *options) == 0
    kind, asked = wandb.calls[0]
    key = json.loads((run / "online_log.json").read_text())
    assert kind == "init" and asked["config"]["randomness"]["seed"] == 7
    assert {k: asked[k] for k in ("project", "group", "name", "mode", "resume", "dir", "id")} == {
        "project": "dml", "group": "cars", "name": "run_7", "mode": "online", "resume": None, "dir": str(run),
        "id": key["key"],
    }  # fmt: skip
    assert ("define", "*", "iteration") in wandb.calls and wandb.calls[-1] == ("finish",)
    theirs = logged(wandb.calls)
    here = {
        v.tag: v.simple_value for e in events(run / "tensorboard") for v in e.summary.value if v.HasField("simple_value")
    }
    assert {"loss", "lr", "head/norm"} <= here.keys() and here.keys() <= theirs.keys()
    assert theirs["loss"] == pytest.approx(here["loss"], rel=1e-6)


def test_a_resumed_training_goes_on_in_its_run(toy_yaml, tmp_path, fake):
    wandb, run = fake("wandb", FAKE_WANDB), tmp_path / "run"
    options = ["--cfg-options", section("wandb"), "train_cfg.max_epochs=2"]
    for more in (["train_cfg.max_epochs=1"], ["--resume"], []):
        assert train(toy_yaml, "--work-dir", run, *options, *more) == 0
    first, resumed, anew = (call[1] for call in wandb.calls if call[0] == "init")
    assert first["project"] == "toy" and first["id"] == resumed["id"] != anew["id"]
    assert [asked["resume"] for asked in (first, resumed, anew)] == [None, "allow", None]
    assert min(call[1]["iteration"] for call in wandb.calls if call[0] == "log") > 0


def test_comet_gets_the_same(toy_yaml, tmp_path, fake):
    comet, run = fake("comet_ml", FAKE_COMET), tmp_path / "run"
    options = ["--cfg-options", section("comet", project="dml", group="cars", mode="offline", name="one")]
    assert train(toy_yaml, "--work-dir", run, *options, "train_cfg.max_epochs=1") == 0
    asked = comet.calls[0][1]
    assert (asked["project_name"], asked["name"], asked["tags"], asked["online"]) == ("dml", "one", ["cars"], False)
    assert asked["offline_directory"] == str(run) and len(asked["experiment_key"]) == 32
    assert ("other", "group", "cars") in comet.calls and comet.calls[-1] == ("finish",)
    assert {"loss", "lr"} <= logged(comet.calls).keys() and list((run / "tensorboard").glob("events.*"))


def test_tensorboard_is_written_whatever_the_visualizer_says(toy_yaml, tmp_path, fake):
    fake("wandb", FAKE_WANDB)
    options = ["online_log={service: wandb}", "visualizer.vis_backends=[]"]
    backends = build_runner(load_experiment(toy_yaml, options), work_dir=tmp_path / "run").visualizer._vis_backends
    assert list(backends) == ["TensorboardXVisBackend", "OnlineLogBackend"]
    alone = build_runner(load_experiment(toy_yaml), work_dir=tmp_path / "alone").visualizer._vis_backends
    assert list(alone) == ["TensorboardXVisBackend"]


@pytest.mark.parametrize(
    ("options", "said"),
    (
        (section("wandb"), "needs the package wandb, which is not installed: pip install wandb; or leave it out"),
        (section("comet"), "needs the package comet_ml, which is not installed: pip install comet-ml"),
        (section("mlflow"), "takes service: wandb or comet, and mode: online or offline, not 'mlflow' and 'online'"),
        (section("wandb", mode="dark"), "not 'wandb' and 'dark'"),
        (section("wandb", projekt="dml"), "unknown key online_log.projekt; did you mean 'project'?"),
    ),
)
def test_what_is_wrong_is_one_line(toy_yaml, tmp_path, capsys, monkeypatch, options, said):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n in ("wandb", "comet_ml") else find_spec(n, *a))
    assert train(toy_yaml, "--work-dir", tmp_path / "run", "--cfg-options", options) == 2
    assert said in capsys.readouterr().err.strip().split("\n")[-1]


def test_nobody_logged_in_says_so_before_training(toy_yaml, tmp_path, capsys, fake):
    fake("wandb", FAKE_WANDB)
    assert train(toy_yaml, "--work-dir", tmp_path / "run", "--cfg-options", section("wandb", project="closed")) == 2
    line = capsys.readouterr().err.strip().split("\n")[-1]
    assert "(No API key configured.). Log in (wandb login), or write its files here: online_log.mode=offline" in line
    assert not list((tmp_path / "run").glob("epoch_*.pth"))


@pytest.mark.parametrize(("service", "pattern"), (("wandb", "wandb/offline-run-*/run-*.wandb"), ("comet_ml", "*.zip")))
def test_the_packages_themselves_write_their_files(toy_yaml, tmp_path, service, pattern):
    if (spec := importlib.util.find_spec(service)) is None or spec.origin is None:
        pytest.skip(f"{service} is not installed")
    run = tmp_path / "run"
    options = [section(service.removesuffix("_ml"), project="dml", group="g", mode="offline"), "train_cfg.max_epochs=1"]
    assert train(toy_yaml, "--work-dir", run, "--cfg-options", *options) == 0
    (file,) = run.glob(pattern)
    assert file.stat().st_size > 500 and torch.load(run / "epoch_1.pth", weights_only=False)["meta"]["iter"] > 0
