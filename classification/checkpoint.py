"""From an experiment and a checkpoint to the trained method: file, run folder or address, checked against each other."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from repmet.classification.experiment import read_split, size_model
from repmet.classification.methods.base import Method
from repmet.data.files.digest import sha256_of
from repmet.errors import UserError
from repmet.experiments.config.as_trained import take_over
from repmet.experiments.config.loading import check_experiment, check_tree, load_experiment, parse_experiment
from repmet.experiments.config.suites import experiment_name
from repmet.experiments.running.checkpoints import (
    check_weights,
    latest_checkpoint,
    load_checkpoint,
    refuse_classes,
)
from repmet.experiments.running.safe_loaders import download
from repmet.experiments.running.training_command import training_command

BEST = "best.pth"


@dataclass
class Trained:
    """A method with its weights, in evaluation mode.

    cfg: the experiment, with the model sized and the training's own seed and splits. name: of the checkpoint, a path or an
    address. sha256: of its file. classes: of the training set, in the order of the method's outputs. seed, training,
    command: of the training, its record and how to repeat it. None where the checkpoint does not say, and `command` where
    the experiment has no file.
    """

    cfg: Config
    method: Method
    name: str
    seed: int | None = None
    training: dict[str, Any] | None = None
    sha256: str | None = None
    command: str | None = None
    classes: tuple[str, ...] | None = None


def load_own(experiment: str, options: Sequence[str], flags: Mapping[str, Any]) -> Config:
    """An experiment that the commands of this tree may measure.

    Raises:
        ValueError: it is one of another tree, or what `load_experiment` refuses.
    """
    cfg = load_experiment(experiment, options, flags)
    check_tree(cfg, experiment, "classification", "evaluate")
    return cfg


def differing(trained: Trained, classes: Sequence[str], what: str) -> str | None:
    """One sentence on the classes in which a set differs from those that the method was trained on; None where it does not.

    By their names: labels follow from the sorted names, so a class that is called otherwise moves the labels of the others.
    """
    known = trained.classes or read_split(trained.cfg, "train").classes
    if tuple(classes) == tuple(known):
        return None
    parts = ((f"{what} has", set(classes) - set(known)), (f"{trained.name} was trained on", set(known) - set(classes)))
    return ", and ".join(f"{who} {_some(names)}" for who, names in parts if names)


def check_known(trained: Trained, classes: Sequence[str], what: str) -> None:
    """Raises ValueError, naming the classes that differ, where a set has others than the method was trained on."""
    if (difference := differing(trained, classes, what)) is not None:
        raise UserError(f"{difference}: a class is what it is called; use the names that it was trained with")


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def run_folder(checkpoint: str, experiment: str) -> Path:
    """Where figures go: beside the checkpoint where that is a run folder, else to the experiment's own one."""
    return Path(checkpoint) if Path(checkpoint).is_dir() else Path("work_dirs") / experiment_name(experiment)


def load_trained(cfg: Config, checkpoint: str | Path, options: Sequence[str] = ()) -> Trained:
    """Builds the experiment's method with a checkpoint's weights.

    The model, what it sees (size and transforms of the images), and splits that are drawn by seed are those of the training,
    whatever the experiment says, so that no image that was trained on is tested on; what differs is said. Pretrained
    weights of the encoder need not be there.

    Args:
        cfg: the experiment, not prepared; it is left as it is.
        checkpoint: a file; a run folder, of which the best is taken, else the last; or an address (http, https), with
            `#sha256=HEX` behind it where its checksum is known.
        options: `--cfg-options` of the experiment, as typed.

    Raises:
        FileNotFoundError, ConnectionError: it is not there.
        ValueError: it is no checkpoint, of another method, or of other sizes; its checksum is another; an option asks for
            something else than it was trained with.
    """
    name, file = find_checkpoint(checkpoint)
    content = load_checkpoint(file)
    refuse_classes(content, name)
    meta = content.get("meta") if isinstance(content.get("meta"), Mapping) else {}
    experiment = meta.get("experiment") or {}
    command = None
    cfg = copy.deepcopy(cfg)
    if cfg.get("model") is None:
        raise UserError("the experiment has no section `model`")
    if experiment.get("tree", "classification") != "classification":
        raise UserError(f"{name}: was trained by an experiment of the {experiment['tree']} tree, it is no classifier")
    trained = experiment.get("method", cfg.model.type)
    if trained != cfg.model.type:
        raise UserError(
            f"{name}: holds a {trained}, and the experiment is of a {cfg.model.type}; evaluate it by the experiment that it "
            "was trained by"
        )
    if "yaml" in experiment:
        embedded = parse_experiment(experiment["yaml"], f"the experiment in {name}")
        if cfg.filename:  # else it is out of a checkpoint itself
            command = training_command(load_experiment(cfg.filename), embedded, cfg.filename, meta.get("seed"))
        _take_over(cfg, embedded, options, name)
        check_experiment(cfg.to_dict(), Path(name))  # somebody else may have written it
    if "weights" in cfg.model.encoder:
        cfg.model.encoder.weights = None
        cfg.model.encoder.pop("fresh", None)
    size_model(cfg, read_split(cfg, "train"))
    method = MODELS.build(cfg.model)
    state = content.get("state_dict", content)
    check_weights(method, state, name)
    method.load_state_dict(state)
    method.to("cuda" if torch.cuda.is_available() else "cpu")
    classes = tuple(experiment["classes"]) if experiment.get("classes") else None
    return Trained(
        cfg, method.eval(), name, meta.get("seed"), _training(checkpoint, meta), sha256_of(file), command, classes
    )


def find_checkpoint(checkpoint: str | Path) -> tuple[str, Path]:
    """What a checkpoint is called, and its file."""
    if str(checkpoint).startswith(("http://", "https://")):
        return str(checkpoint), download(str(checkpoint))
    path = Path(checkpoint)
    if path.is_dir():
        file = path / BEST if (path / BEST).is_file() else latest_checkpoint(path)
        if file is None:
            raise FileNotFoundError(f"{path}: a run folder without a checkpoint; train first, or name a file")
        path = file
    return str(path), path


def _take_over(cfg: Config, trained: Config, options: Sequence[str], name: str) -> None:
    """The model of a training and what it sees; and its seed and splits, where it was on the same source."""
    keys = ["model", "data.size", "test_pipeline"]
    if trained.get("data") and cfg.get("data") and trained.data.get("source") == cfg.data.get("source"):
        keys += ["data.arguments"]
        cfg.data.setdefault("arguments", None)
    take_over(cfg, trained, keys, options=options, name=name)
    if "data.arguments" in keys:
        cfg.data.arguments = trained.data.get("arguments")
        cfg.randomness = trained.get("randomness") or {}


def _training(checkpoint: str | Path, meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of the whole training: of a run folder's last checkpoint, for the best one was written on the way."""
    last = latest_checkpoint(checkpoint) if Path(checkpoint).is_dir() else None
    if last is not None:
        meta = load_checkpoint(last).get("meta") or meta
    return dict(meta["training"]) if meta.get("training") else None
