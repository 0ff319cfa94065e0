"""Every classification experiment that the project ships trains for two iterations, validates and is evaluated.

The training is the experiment's own on other, tiny data: glyphs for Omniglot, digits for MNIST, folders of coloured noise
for photographs; small images and batches, no pretrained weights. Methods, heads, losses, hooks and schedules stay. What
several experiments have in common is done once: an encoder by the same arguments is built once, and experiments that differ
in their data alone, so that nothing is left of that here, are one training.
"""

import copy
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from repmet.classification.checkpoint import Trained
from repmet.classification.methods import NearestClassMean
from repmet.classification.protocols.evaluation import evaluate, shots_of
from repmet.experiments.config.loading import experiment_text, load_experiment
from repmet.experiments.config.suites import experiments_below, split_address
from repmet.experiments.running.launcher import build_runner
from repmet.experiments.running.runner import ExperimentRunner
from repmet.model_definitions.encoders import Encoder

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("prototypes.yaml", "retrieval.yaml", "nivmf.yaml")  # suites that have tests of their own
CLASSIFICATION = [
    Path(address).relative_to(ROOT).as_posix()
    for folder in ("classification", "published/classification")
    for address in experiments_below(ROOT / "experiments" / folder)
    if split_address(address)[0].name not in ELSEWHERE
]
# Of pytorch.repmet, with the two rows of its tables that had no file.
NAMES = (
    *(f"protonets_{shot}_{way}" for shot in (1, 5) for way in (5, 20)),
    *(f"magnet_{name}" for name in ("flowers_1_12_4", "flowers_r18F_1_12_4", "mnist_2_4_5")),
    *(f"repmet_flowers_{name}" for name in ("1_12_4", "r18F_1_12_4", "3_12_4", "3_12_4_r18l", "3_12_4_inc3l")),
    *(f"repmet_flowers_{name}_12_4" for name in ("inc3F_1", "inc3F_3", "inc3L_1", "inc3LU_1")),
    *("repmet_pets_r18F_1_12_4", "repmet_pets_3_12_4_inc3l", "testing"),
)
CLASSES, EACH = 15, 10  # images of each class
FEW = 6  # classes for an Inception, which takes its time even for images of 75 pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of noise, each class with a tint of its own: hard to learn, so that no loss begins at 0."""
    home = tmp_path_factory.mktemp("images")
    generator = torch.Generator().manual_seed(0)
    for c in range(CLASSES):
        (home / f"class{c:02d}").mkdir()
        colour = torch.randint(118, 138, (3,), generator=generator)
        for i in range(EACH):
            noise = torch.randint(-110, 110, (36, 36, 3), generator=generator)
            Image.fromarray((colour + noise).to(torch.uint8).numpy()).save(home / f"class{c:02d}" / f"{i}.png")
    return home


@pytest.fixture(scope="module", autouse=True)
def _built_once() -> Iterator[None]:
    """Copies of encoders in the place of torchvision's slow constructors."""

    def once(encoder: type[Encoder]) -> Callable[..., Encoder]:
        built: dict[str, Encoder] = {}

        @functools.wraps(encoder, updated=())
        def build(**arguments: Any) -> Encoder:
            key = repr(sorted(arguments.items()))
            if key not in built:
                built[key] = encoder(**arguments)
            return copy.deepcopy(built[key])

        return build

    with pytest.MonkeyPatch.context() as patch:
        # a stretched normal distribution, exactly cut off, takes seconds for an Inception
        patch.setattr(torch.nn.init, "trunc_normal_", lambda t, *args, std=1.0, **kwargs: t.data.normal_(0, std))
        for name in ("Inception", "TorchvisionEncoder"):
            patch.setitem(MODELS.module_dict, name, once(MODELS.module_dict[name]))
        yield


def tiny(cfg: Config, folder: Path) -> dict[str, Any]:
    """Options that put an experiment onto small data and leave two small batches of an epoch."""
    source, encoder = cfg.data.source, cfg.model.encoder
    sampler = cfg.train_dataloader.get("batch_sampler") or {}
    options: dict[str, Any] = {
        "train_cfg.max_epochs": 1,
        "default_hooks.logger.interval": 1,
        "default_hooks.checkpoint.interval": -1,
        "default_hooks.checkpoint.save_last": False,
    }
    if source == "omniglot":
        size = {"size": encoder.image_size}
        options |= {"data.source": "glyph_characters", "data.arguments": {"characters": 60, "per_class": 20} | size}
        if "groups" in sampler:  # glyphs are of no alphabet
            options |= {"train_dataloader.batch_sampler.groups": None, "episodes.within_groups": None}
        options |= {"data.train": "train", "data.test": "test", "episodes.one_shot_runs": None}
    elif source in ("mnist", "omniglot_characters"):
        options |= {"data.source": "digits", "data.size": 28}
        options["data.arguments"] = {"train_per_class": 9, "val_per_class": 4, "test_per_class": 4, "seed": None}
    elif source == "cifar_fs":
        options["data.arguments"] = {"classes_per_split": {"train": 5, "val": 5, "test": 5}}
        options["data.size"] = 32
        if sampler.get("type") == "EpisodeBatchSampler":
            options |= {"train_dataloader.batch_sampler.way": 3, "train_dataloader.batch_sampler.query": 2}
        if "weights" in encoder:
            options["model.encoder.weights"] = None
    elif source == "mini_imagenet":
        options["data.arguments"] = {"classes_per_split": {"train": 5, "val": 5, "test": 5}}
        options |= {"train_dataloader.batch_sampler.way": 3, "train_dataloader.batch_sampler.query": 2, "data.size": 84}
    else:
        few = encoder.type == "Inception"
        options["data.arguments"] = {"images_per_class": {"train": 8, "test": 2}, "val_per_class": 2, "seed": None}
        if few:
            options["data.arguments"] = {"images_per_class": {"train": 5, "test": 1}, "val_per_class": 1, "seed": None}
            options["data.arguments"]["only"] = [f"class{c:02d}" for c in range(FEW)]
        options["data.size"] = 75 if few else 32
        options["model.encoder.weights"] = None
        for i, step in enumerate(cfg.train_pipeline):
            if step["type"] == "RandomResizedCrop":
                options[f"train_pipeline.{i}.size"] = [options["data.size"]] * 2
    if "episodes" in cfg:
        options |= {"episodes.episodes": 20, "episodes.query": 2}
    if source in ("mini_imagenet", "cifar_fs", "flowers102", "pets", "dogs", "image_folder"):
        options |= {"data.source": "image_folder", "data.root": str(folder)}
    if sampler.get("type") == "EpisodeBatchSampler":
        options["train_dataloader.batch_sampler.episodes"] = 2
    elif sampler.get("type"):
        number = "classes" if sampler.type == "ClassBatchSampler" else "clusters"
        options |= {"train_dataloader.batch_sampler.batches": 2, f"train_dataloader.batch_sampler.{number}": 3}
    else:
        options["train_dataloader.batch_size"] = 12 if encoder.type == "Inception" else 45  # half: two batches
        options["train_dataloader.sampler"] = {"type": "DefaultSampler", "shuffle": True}
    return options


@pytest.fixture(scope="module")
def passed() -> set[str]:
    """The tiny experiments, as text, that have passed."""
    return set()


def test_every_name_of_the_earlier_project_is_there() -> None:
    assert {Path(name).stem for name in CLASSIFICATION if "published" in name} >= set(NAMES)


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_it_trains_and_is_evaluated(name, folder, passed, tmp_path, monkeypatch) -> None:
    cfg = load_experiment(ROOT / name)
    cfg = load_experiment(ROOT / name, tiny(cfg, folder))
    text = experiment_text(Config({key: value for key, value in cfg.items() if key != "report"}))
    if text in passed:
        return
    monkeypatch.setattr("repmet.data.files.tensor_cache.CACHE", tmp_path / "cache")
    saved: list[str] = []
    monkeypatch.setattr(ExperimentRunner, "save_checkpoint", lambda self, out, file, **kwargs: saved.append(file))
    runner = build_runner(cfg, work_dir=tmp_path / "run")
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}

    runner.train()

    assert runner.iter == 2
    assert saved == (["best.pth"] if cfg.data.get("val") else [])  # one validation, which is the best so far
    after = runner.model.state_dict()
    moved = {key for key in after if after[key].shape != before[key].shape or not torch.equal(after[key], before[key])}
    if isinstance(runner.model, NearestClassMean):
        assert moved == {"sums", "counts"}
    else:
        losses = runner.message_hub.log_scalars["train/loss"].data[0]
        assert len(losses) == 2 and all(math.isfinite(value) for value in losses)
        trained = {key for key, value in runner.model.named_parameters() if value.requires_grad}
        assert trained and trained <= moved | {key for key in trained if "bias" in key}, "some weight has not moved"
    frozen = cfg.model.encoder.get("frozen", False)
    assert frozen == (not any(key.startswith("encoder.") for key in moved)), "frozen means batch norm too"

    result = evaluate(Trained(cfg, runner.model.eval(), "in memory"), unsupervised=False)
    assert result.rows and all(0 <= row["mean"] <= 1 for row in result.rows)
    metrics = {row["metric"] for row in result.rows}
    if "episodes" in cfg:
        assert metrics >= {f"{cfg.episodes.way}-way {shot}-shot accuracy" for shot in shots_of(cfg.episodes)}
    else:
        assert metrics >= {"simple accuracy", "magnet accuracy", "repmet accuracy"}
    passed.add(text)
