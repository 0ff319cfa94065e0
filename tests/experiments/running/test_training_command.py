"""The command in the table of checkpoints: run, it gives the experiment that was trained."""

import shlex

import pytest

from repmet.experiments.config.loading import load_experiment
from repmet.experiments.config.options import parse_options
from repmet.experiments.running.training_command import training_command


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optim_wrapper.optimizer.lr": 1e-05},
        {"optim_wrapper.optimizer.lr": 0.5, "train_cfg.max_epochs": 7, "experiment_note": "it's a | test: 1"},
        {"param_scheduler": None, "optim_wrapper.clip_grad": {"max_norm": 1.5}, "custom_hooks": [{"type": "EMAHook"}, 3]},
        {"model.names": ["true", "1", "a b"], "model.name": "true", "model.other": "1e-3", "param_scheduler": []},
    ],
)
def test_the_options_give_the_experiment_back(toy_yaml, options):
    from_file = load_experiment(toy_yaml)
    trained = from_file.to_dict()
    for key, value in options.items():
        *parents, last = key.split(".")
        node = trained
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    trained = type(from_file)(trained)
    words = shlex.split(training_command(from_file, trained, "toy.yaml"))
    assert words[:4] == ["python", "-m", f"{from_file.tree}.train", "toy.yaml"]
    if not options:
        assert words[4:] == []
        return
    assert words[4] == "--cfg-options"
    assert read_back(from_file.to_dict(), words[5:]) == trained.to_dict()


def read_back(values: dict, options: list[str]) -> dict:
    """The options put in by hand: `load_experiment` refuses the made-up keys."""
    for key, value in parse_options(options).items():
        *parents, last = key.split(".")
        node = values
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return values


def test_the_seed_has_its_own_option(toy_yaml):
    from_file = load_experiment(toy_yaml)
    seed = from_file.randomness.seed
    seeded = load_experiment(toy_yaml, {"randomness.seed": seed + 3})
    assert training_command(from_file, seeded, "a.yaml").endswith(f"train a.yaml --seed {seed + 3}")
    assert training_command(from_file, from_file, "a.yaml", seed + 4).endswith(f"train a.yaml --seed {seed + 4}")
    assert "--seed" not in training_command(from_file, from_file, "a.yaml", seed)


def test_where_the_files_lie_does_not_matter(toy_yaml):
    from_file = load_experiment(toy_yaml)
    elsewhere = from_file.to_dict() | {"load_from": "elsewhere/x.pth", "work_dir": "elsewhere/run"}
    elsewhere["model"] = dict(elsewhere["model"]) | {"weights": "elsewhere/resnet.pth"}
    here = from_file.to_dict()
    here["model"] = dict(here["model"]) | {"weights": "data/resnet.pth"}
    assert (
        training_command(type(from_file)(here), type(from_file)(elsewhere), "a.yaml")
        == f"python -m {from_file.tree}.train a.yaml"
    )
    elsewhere["model"]["weights"] = "elsewhere/other.pth"
    assert "model.weights=elsewhere/other.pth" in training_command(
        type(from_file)(here), type(from_file)(elsewhere), "a.yaml"
    )
