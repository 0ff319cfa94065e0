"""Every shipped experiment on classes in a tree trains for two iterations and measures what mistakes cost.

The training is the experiment's own on other, tiny data: digits for MNIST, folders of noise under the tree's own names for
photographs; no pretrained weights. Methods, trees, losses and schedules stay.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from repmet.classification.checkpoint import Trained
from repmet.classification.protocols.cost_report import cost_rows
from repmet.classification.protocols.evaluation import evaluate
from repmet.data.readers.trees import read_tree
from repmet.experiments.config.loading import load_experiment
from repmet.experiments.config.suites import experiment_name, experiments_in
from repmet.experiments.running.launcher import build_runner
from repmet.experiments.running.runner import ExperimentRunner
from repmet.model_definitions.hierarchy import Hierarchy

ROOT = Path(__file__).parents[2]
SHIPPED = experiments_in(ROOT / "experiments" / "classification" / "prototypes.yaml")
FIGURE = {f"{data}_{model}" for data in ("digits", "mnist") for model in (
    "cross_entropy", "free", "guided_visual", "fixed_visual", "guided_numbers", "fixed_numbers"
)}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By tree, a folder of some of its leaves' names, four images of noise each."""
    home = tmp_path_factory.mktemp("images")
    generator = torch.Generator().manual_seed(0)
    for tree in ("flowers17", "caltech101", "cifar100"):
        for name in (
            Hierarchy(read_tree(tree).parents).classes[::8] if tree != "flowers17" else ("class01", "class02", "class14")
        ):
            (home / tree / name).mkdir(parents=True)
            for i in range(4):
                noise = torch.randint(0, 255, (32, 32, 3), generator=generator).to(torch.uint8)
                Image.fromarray(noise.numpy()).save(home / tree / name / f"{i}.png")
    return home


def tiny(cfg: Config, name: str, folders: Path) -> dict[str, Any]:
    """Options that put an experiment onto small data and leave two batches of an epoch."""
    options: dict[str, Any] = {
        "train_cfg.max_epochs": 1,
        "default_hooks.checkpoint.interval": -1,
        "default_hooks.checkpoint.save_last": False,
        "train_dataloader.num_workers": 0,
    }
    source = name.partition("_")[0]
    if source in ("digits", "mnist"):
        options |= {"data.source": "digits", "data.size": cfg.model.encoder.image_size, "train_dataloader.batch_size": 15}
        options["data.arguments"] = {"train_per_class": 3, "val_per_class": 2, "test_per_class": 2, "seed": None}
        return options
    options |= {"data.source": "image_folder", "data.root": str(folders / source), "data.size": 32}
    options["data.arguments"] = {"images_per_class": {"train": 3, "test": 1}, "val_per_class": 1, "seed": None}
    options |= {"model.encoder.weights": None, "train_dataloader.batch_size": len(list((folders / source).iterdir()))}
    return options


def test_the_figure_is_there() -> None:
    assert {experiment_name(address) for address in SHIPPED} >= FIGURE


@pytest.mark.parametrize("address", SHIPPED, ids=experiment_name)
def test_it_trains_and_its_mistakes_are_measured(address, folders, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("repmet.data.files.tensor_cache.CACHE", tmp_path / "cache")
    monkeypatch.setattr(ExperimentRunner, "save_checkpoint", lambda *args, **kwargs: None)
    name = experiment_name(address)
    cfg = load_experiment(address, tiny(load_experiment(address), name, folders))
    runner = build_runner(cfg, work_dir=tmp_path / "run")
    before = {key: value.clone() for key, value in runner.model.named_parameters()}

    runner.train()

    assert runner.iter == 2
    losses = runner.message_hub.log_scalars["train/loss"].data[0]
    assert all(math.isfinite(value) for value in losses)
    learnt = {key: value for key, value in runner.model.named_parameters() if value.requires_grad}
    moved = {key for key, value in learnt.items() if not torch.equal(value, before[key])}
    assert moved >= {key for key in learnt if "bias" not in key}
    fixed = "fixed" in name or "hyperspherical" in name
    assert fixed == any("representatives" in key for key in before.keys() - learnt.keys())

    rows = {row["metric"]: row for row in cost_rows(evaluate(Trained(cfg, runner.model.eval(), ""), unsupervised=False))}
    error, cost = rows["error rate"]["mean"], rows["average cost"]["mean"]
    assert 2 * error <= cost and 0 <= rows["distortion"]["mean"] <= 1
    assert (error > 0) == ("hierarchical distance of mistakes" in rows)
