"""A training that was killed goes on, and ends with the weights of one that was not: bit for bit on the CPU."""

import shutil
import signal
import time

import pytest
import torch

from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running.checkpoints import load_checkpoint
from repmet.experiments.running.launcher import build_runner, train_command


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums of floats depend on how many threads share them; `start` gives its processes one, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(*argv) -> int:
    return train_command("toy", "doc", argv=[str(a) for a in argv])


def same_weights(a, b) -> bool:
    a, b = (load_checkpoint(path) for path in (a, b))
    states = (a["state_dict"], b["state_dict"])
    momenta = [c["optimizer"]["state"] for c in (a, b)]
    return (
        all(torch.equal(states[0][k], states[1][k]) for k in states[0] | states[1])
        and all(torch.equal(momenta[0][k]["momentum_buffer"], momenta[1][k]["momentum_buffer"]) for k in momenta[0])
        and a["param_schedulers"] == b["param_schedulers"]
        and torch.equal(*(c["message_hub"]["log_scalars"]["train/loss"]["log"] for c in (a, b)))
    )


@pytest.fixture(scope="module")
def killed(start, tmp_path_factory):
    """Run folders of two trainings, with 0 and 2 data workers, killed (SIGKILL) in the middle of the third epoch."""
    folder = tmp_path_factory.mktemp("killed")
    toy_yaml = __file__.replace("test_resume.py", "toy/toy.yaml")
    processes = {
        workers: start(
            "-m",
            "toy.train",
            toy_yaml,
            "--work-dir",
            folder / str(workers),
            "--cfg-options",
            f"train_dataloader.num_workers={workers}",
            "train_dataloader.dataset.slow=0.1",
        )
        for workers in (0, 2)
    }
    deadline = time.monotonic() + 300
    waiting = dict(processes)
    while waiting and time.monotonic() < deadline:
        for workers, process in list(waiting.items()):
            note = folder / str(workers) / "last_checkpoint"
            if note.is_file() and note.read_text() == "epoch_2.pth":
                time.sleep(0.2)  # into the third epoch
                process.send_signal(signal.SIGKILL)
                del waiting[workers]
        time.sleep(0.02)
    for process in waiting.values():
        process.kill()
    outputs = {workers: process.communicate()[0] for workers, process in processes.items()}
    assert not waiting, outputs
    assert all(process.returncode == -signal.SIGKILL for process in processes.values()), outputs
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_training_ends_with_the_same_bits(killed, toy_yaml, tmp_path, workers):
    folder = killed / str(workers)
    assert not (folder / "epoch_3.pth").exists()
    option = ("--cfg-options", f"train_dataloader.num_workers={workers}")
    assert train(toy_yaml, "--work-dir", tmp_path, *option) == 0
    assert train(toy_yaml, "--work-dir", folder, "--resume", "auto", *option) == 0
    assert same_weights(tmp_path / "epoch_4.pth", folder / "epoch_4.pth")


def test_augmentation_differs_between_epochs_and_workers(toy_yaml, tmp_path):
    """mmengine's own worker seeding would draw the same jitter in every epoch."""
    options = {"train_dataloader.num_workers": 2, "train_dataloader.sampler.shuffle": False}
    runner = build_runner(load_experiment(toy_yaml, options), work_dir=tmp_path)
    drawn = []

    def forward(inputs, target, mode="tensor"):
        drawn.append(torch.stack(list(inputs)).clone())
        return type(runner.model).forward(runner.model, inputs, target, mode)

    runner.model.forward = forward
    runner.train()
    epochs = torch.cat(drawn).reshape(4, 24, 4)  # (epoch, point, dimension)
    jitter = (epochs - runner.train_dataloader.dataset.points)[..., 0]  # (epoch, point)
    assert jitter.flatten().unique().numel() == 4 * 24


@pytest.mark.parametrize("explicit_end", [False, True])
def test_longer_schedule_moves_the_end_and_keeps_milestones(toy_yaml, tmp_path, explicit_end):
    short = ["param_scheduler.1.end=4"] if explicit_end else []
    long = ["param_scheduler.1.end=7"] if explicit_end else []
    assert train(toy_yaml, "--work-dir", tmp_path / "a", "--cfg-options", "train_cfg.max_epochs=4", *short) == 0
    # with an explicit end, the very file is resumed, with a larger max_epochs alone
    assert train(toy_yaml, "--work-dir", tmp_path / "a", "--resume", "--cfg-options", "train_cfg.max_epochs=7", *short) == 0
    assert train(toy_yaml, "--work-dir", tmp_path / "b", "--cfg-options", "train_cfg.max_epochs=7", *long) == 0
    assert same_weights(tmp_path / "a" / "epoch_7.pth", tmp_path / "b" / "epoch_7.pth")
    group = load_checkpoint(tmp_path / "a" / "epoch_7.pth")["optimizer"]["param_groups"][0]
    assert group["lr"] == 1e-2 * 0.5 * 0.5  # the milestone at epoch 5, beyond the first training's end


def test_training_by_iterations_resumes_exactly(write_yaml, tmp_path):
    path = write_yaml(
        "train_cfg: {_delete_: true, by_epoch: false, max_iters: 20}\n"
        "train_dataloader: {sampler: {type: InfiniteSampler, shuffle: true}}\n"
        "default_hooks: {checkpoint: {by_epoch: false, interval: 8}}\n"
        "log_processor: {by_epoch: false}\n"
        "param_scheduler: [{type: MultiStepLR, milestones: [5, 15], by_epoch: false}]\n"
    )
    assert train(path, "--work-dir", tmp_path / "a") == 0
    assert {p.name for p in (tmp_path / "a").glob("iter_*")} == {"iter_16.pth", "iter_20.pth"}
    assert train(path, "--work-dir", tmp_path / "b", "--resume", tmp_path / "a" / "iter_16.pth") == 0
    assert same_weights(tmp_path / "a" / "iter_20.pth", tmp_path / "b" / "iter_20.pth")


def test_resume_takes_the_seed_of_the_checkpoint(toy_yaml, tmp_path):
    assert train(toy_yaml, "--work-dir", tmp_path / "a", "--seed", "3") == 0
    resumed = ("--resume", tmp_path / "a" / "epoch_3.pth")
    assert train(toy_yaml, "--work-dir", tmp_path / "b", *resumed) == 0
    assert same_weights(tmp_path / "a" / "epoch_4.pth", tmp_path / "b" / "epoch_4.pth")


def test_resume_needs_no_pretrained_file(toy_yaml, tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": {"linear.weight": torch.ones(1, 4)}}, weights)
    options = ("--cfg-options", f"model.init_cfg={{type: Pretrained, checkpoint: {weights}}}")
    assert train(toy_yaml, "--work-dir", tmp_path / "a", *options) == 0
    weights.unlink()
    assert train(toy_yaml, "--work-dir", tmp_path / "b", "--resume", tmp_path / "a" / "epoch_3.pth", *options) == 0
    assert same_weights(tmp_path / "a" / "epoch_4.pth", tmp_path / "b" / "epoch_4.pth")


def test_auto_starts_afresh_where_there_is_nothing(toy_yaml, tmp_path):
    assert train(toy_yaml, "--work-dir", tmp_path, "--resume", "auto", "--cfg-options", "train_cfg.max_epochs=1") == 0
    assert (tmp_path / "epoch_1.pth").is_file()


def test_checkpoints_that_cannot_be_resumed(toy_yaml, tmp_path, capsys):
    assert train(toy_yaml, "--work-dir", tmp_path / "a", "--cfg-options", "train_cfg.max_epochs=1") == 0
    path = tmp_path / "a" / "epoch_1.pth"
    assert train(toy_yaml, "--work-dir", tmp_path / "b", "--resume", path, "--cfg-options", "data.classes=[x]") == 2
    assert "head.weight has shape (3, 2, 3), the model's has (1, 2, 3)" in capsys.readouterr().err
    bare = tmp_path / "bare.pth"
    torch.save({"state_dict": load_checkpoint(path)["state_dict"]}, bare)
    assert train(toy_yaml, "--work-dir", tmp_path / "b", "--resume", bare) == 2
    assert "holds weights alone" in capsys.readouterr().err
    shutil.copy(path, tmp_path / "cut.pth")
    with open(tmp_path / "cut.pth", "r+b") as file:
        file.truncate(2000)
    assert train(toy_yaml, "--work-dir", tmp_path / "b", "--resume", tmp_path / "cut.pth") == 2
    assert "cut.pth: damaged" in capsys.readouterr().err


def test_torchrun_on_the_cpu(start, toy_yaml, tmp_path):
    arguments = ("--standalone", "--nproc-per-node", "2", "-m", "toy.train", toy_yaml, "--work-dir", tmp_path)
    process = start("-m", "torch.distributed.run", *arguments)
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        process.terminate()
    assert process.returncode == 0, output
    assert output.count("checkpoint: ") == 1
    meta = load_checkpoint(tmp_path / "epoch_4.pth")["meta"]
    assert (meta["epoch"], meta["iter"]) == (4, 12)  # 24 points, 2 processes, batches of 4
