"""What a checkpoint says about its training, under a clock that the test moves; and the hook for the memory layout."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running import training_record
from repmet.experiments.running.checkpoints import load_checkpoint
from repmet.experiments.running.hooks import ChannelsLastHook
from repmet.experiments.running.launcher import build_runner
from repmet.experiments.running.provenance import machine

EPOCH_SECONDS = 60.0
PAUSE_SECONDS = 10_000.0  # between two processes, and while a runner waits: nothing that counts


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


class SlowEpochs(Hook):
    """Every epoch takes `EPOCH_SECONDS` of the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def after_train_epoch(self, runner: object) -> None:
        self.clock.now += EPOCH_SECONDS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(training_record, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def train(clock: Clock) -> Callable[..., None]:
    def run(cfg: Config, folder: Path, resume: str | None = None) -> None:
        runner = build_runner(cfg, work_dir=folder, resume=resume)
        runner.register_hook(SlowEpochs(clock), priority="VERY_HIGH")  # before the hook that saves
        clock.now += PAUSE_SECONDS
        runner.train()

    return run


def record(path: Path) -> dict:
    return load_checkpoint(path)["meta"]["training"]


def test_every_checkpoint_says_what_its_training_was(toy_yaml, tmp_path, train) -> None:
    options = {"train_cfg.max_epochs": 3, "data.size": 20, "default_hooks.checkpoint.max_keep_ckpts": -1}
    train(load_experiment(toy_yaml, options), tmp_path)
    for epoch in (1, 2, 3):
        training = record(tmp_path / f"epoch_{epoch}.pth")
        assert 1e7 < training.pop("peak_memory") < 1e11
        log = load_checkpoint(tmp_path / f"epoch_{epoch}.pth")["message_hub"]["log_scalars"]["train/loss"]["log"]
        assert training.pop("losses") == pytest.approx(log.tolist(), abs=1e-4)  # 5 batches an epoch: a stretch each
        assert training == {
            "images": 20,
            "epochs": epoch,
            "steps": 5 * epoch,
            "seconds": EPOCH_SECONDS * epoch,
            "machine": machine(),
        }


def test_a_long_loss_curve_is_summed_up_from_its_beginning(toy_yaml, tmp_path, train) -> None:
    train(load_experiment(toy_yaml, {"train_cfg.max_epochs": 4, "data.size": 32}), tmp_path / "a")
    train(load_experiment(toy_yaml, {"train_cfg.max_epochs": 8, "data.size": 32}), tmp_path / "a", resume="auto")
    checkpoint = load_checkpoint(tmp_path / "a" / "epoch_8.pth")
    log = checkpoint["message_hub"]["log_scalars"]["train/loss"]["log"]
    assert len(log) == 64
    assert checkpoint["meta"]["training"]["losses"] == pytest.approx(log.reshape(16, 4).mean(1).tolist(), abs=1e-4)


def test_seconds_add_up_over_every_resume(toy_yaml, tmp_path, train, clock) -> None:
    for epochs in (1, 3, 4):
        train(load_experiment(toy_yaml, {"train_cfg.max_epochs": epochs}), tmp_path, resume="auto")
        clock.now += PAUSE_SECONDS
        training = record(tmp_path / f"epoch_{epochs}.pth")
        assert (training["epochs"], training["seconds"]) == (epochs, EPOCH_SECONDS * epochs)


def test_weights_that_are_only_a_start_bring_no_time(toy_yaml, tmp_path, train) -> None:
    train(load_experiment(toy_yaml, {"train_cfg.max_epochs": 3}), tmp_path / "a")
    options = {"train_cfg.max_epochs": 1, "load_from": str(tmp_path / "a" / "epoch_3.pth")}
    train(load_experiment(toy_yaml, options), tmp_path / "b")
    training = record(tmp_path / "b" / "epoch_1.pth")
    assert (training["epochs"], training["seconds"]) == (1, EPOCH_SECONDS)


def test_a_checkpoint_without_a_record_can_be_resumed(toy_yaml, tmp_path, train) -> None:
    train(load_experiment(toy_yaml, {"train_cfg.max_epochs": 1}), tmp_path)
    path = tmp_path / "epoch_1.pth"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["meta"]["training"]
    torch.save(checkpoint, path)
    train(load_experiment(toy_yaml, {"train_cfg.max_epochs": 2}), tmp_path, resume="auto")
    training = record(tmp_path / "epoch_2.pth")
    assert (training["epochs"], training["seconds"]) == (2, EPOCH_SECONDS)


def test_a_training_by_iterations_counts_its_passes_over_the_images(write_yaml, tmp_path, train) -> None:
    path = write_yaml(
        "train_cfg: {_delete_: true, by_epoch: false, max_iters: 15}\n"
        "data: {size: 20}\n"
        "train_dataloader: {sampler: {type: InfiniteSampler, shuffle: true}}\n"
        "default_hooks: {checkpoint: {by_epoch: false, interval: 5}}\n"
        "log_processor: {by_epoch: false}\n"
        "param_scheduler: []\n"
    )
    train(load_experiment(path), tmp_path / "run")
    assert [record(tmp_path / "run" / f"iter_{i}.pth")["epochs"] for i in (10, 15)] == [2, 3]  # five batches of 4 a pass


@pytest.fixture
def conv_net() -> torch.nn.Module:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3), torch.nn.Flatten())
    return model.append(torch.nn.LazyLinear(2))


def test_channels_last_moves_every_convolution_and_keeps_the_values(conv_net: torch.nn.Module) -> None:
    x = torch.randn(2, 3, 9, 11)
    expected = conv_net(x)
    before = {name: value.clone() for name, value in conv_net.named_parameters()}
    contiguous = [p for p in conv_net.parameters() if p.dim() == 4]
    assert len(contiguous) == 2 and not any(p.is_contiguous(memory_format=torch.channels_last) for p in contiguous)
    parameters = list(conv_net.parameters())
    ChannelsLastHook().before_train(SimpleNamespace(model=conv_net))
    assert all(a is b for a, b in zip(parameters, conv_net.parameters(), strict=True)), "an optimiser holds these"
    for name, value in conv_net.named_parameters():
        assert torch.equal(value, before[name])
        assert value.dim() != 4 or value.is_contiguous(memory_format=torch.channels_last), name
    torch.testing.assert_close(conv_net(x), expected)


def test_an_experiment_can_name_the_channels_last_hook(write_yaml, tmp_path) -> None:
    cfg = load_experiment(write_yaml("custom_hooks: [{type: ChannelsLastHook}]\ntrain_cfg: {max_epochs: 1}\n"))
    runner = build_runner(cfg, work_dir=tmp_path / "run")
    runner.model.conv = torch.nn.Conv2d(3, 2, 3)
    runner.train()
    assert runner.model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    state = load_checkpoint(tmp_path / "run" / "epoch_1.pth")["state_dict"]
    assert torch.equal(state["conv.weight"], runner.model.conv.weight)
