"""From an experiment and a checkpoint to a detector that is ready to look at images."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from repmet.detection.experiment import prepare_data, size_model  # registers the models too, ours and mmdet's
from repmet.detection.shipped import SHIPPED, checked, read_trained_part, with_backbone
from repmet.errors import UserError
from repmet.experiments.config.as_trained import take_over
from repmet.experiments.config.loading import check_experiment, parse_experiment
from repmet.experiments.running.checkpoints import (
    check_weights,
    experiment_in,
    latest_checkpoint,
    load_checkpoint,
    refuse_classes,
)


@dataclass(frozen=True)
class Detector:
    """A trained mmdet model in eval mode, the experiment with its class lists filled in, and what its training was.

    Attributes:
        training: `images`, `epochs`, `seconds` and `machine` of the training, as far as the checkpoint knows.
    """

    model: nn.Module
    cfg: Config
    training: dict[str, Any]


def load_detector(cfg: Config, checkpoint: str | Path, options: Sequence[str] = ()) -> Detector:
    """Builds the model that a checkpoint was trained as and fills it, to be measured as an experiment says.

    Model and test pipeline are those that the checkpoint embeds, with the experiment's rules of detection (model.test_cfg);
    what differs is said. Of a checkpoint that embeds none they are the experiment's.

    Args:
        cfg: the experiment, not prepared; it is left as it is.
        checkpoint: a file.
        options: `--cfg-options` of the experiment, as typed.

    Raises:
        FileNotFoundError: no such checkpoint, or the experiment's data are not there.
        ValueError: the checkpoint was trained on other classes, or does not fit the model; an option asks for something else
            than it was trained with; the message says where.
    """
    on_own = f"what it is worth on annotated images of your own says python -m detection.own_data {checkpoint} --data FOLDER"
    if isinstance(cfg.get("data"), list):
        raise UserError(f"{cfg.filename}: names sets of images to train on and none to evaluate on; {on_own}")
    if Path(checkpoint).suffix == ".safetensors" and Path(checkpoint).is_file():
        raise UserError(f"{checkpoint}: the trained part of a detector without its frozen backbone; {on_own}")
    cfg = copy.deepcopy(cfg)
    loaded = load_checkpoint(checkpoint)
    refuse_classes(loaded, checkpoint)
    if "state_dict" not in loaded:
        raise UserError(f"{checkpoint}: holds no `state_dict`: these are not the weights of a trained detector")
    facts = loaded.get("meta", {}).get("experiment", {})
    if facts.get("tree", "detection") != "detection":
        raise UserError(f"{checkpoint}: was trained by an experiment of the {facts['tree']} tree, it is no detector")
    if "yaml" in facts:
        embedded = parse_experiment(facts["yaml"], f"the experiment in {checkpoint}")
        keys = ("model", "test_pipeline")
        take_over(cfg, embedded, keys, kept=("model.test_cfg",), options=options, name=str(checkpoint))
        check_experiment(cfg.to_dict(), Path(checkpoint))  # somebody else may have written it
    trained_on = facts.get("base_classes")
    prepare_data(cfg, trained_on)
    if trained_on is not None:
        if missing := sorted(set(cfg.data.base_classes) ^ set(trained_on)):
            raise UserError(
                f"{checkpoint}: was trained on {len(trained_on)} base classes, the experiment names "
                f"{len(cfg.data.base_classes)}, the first difference is {missing[0]!r}; use the experiment and the data "
                "that it was trained with"
            )
        cfg.data.base_classes = list(trained_on)  # in the order of the head's outputs
    return _filled(cfg, loaded, checkpoint)


def open_detector(checkpoint: str | Path | None = None) -> Detector:
    """A detector with nothing but its checkpoint: the experiment and the base classes are those that it embeds.

    The data that it was trained on need not be there; the image lists in `cfg.data` are not looked at.

    Args:
        checkpoint: a file, or a run folder for its last one. None, or `photos`: the weights that ship with this package.

    Raises:
        FileNotFoundError: no such checkpoint, or the package of its frozen backbone is not installed.
        ValueError: it embeds no experiment of detection, or was trained on another backbone.
    """
    if checkpoint is None or (str(checkpoint) == SHIPPED.stem and not Path(checkpoint).exists()):
        checkpoint = checked(SHIPPED)
    path = latest_checkpoint(checkpoint) or Path(checkpoint)
    if path.is_dir():
        raise FileNotFoundError(f"{path}: no checkpoint in this folder")
    loaded = read_trained_part(path) if path.suffix == ".safetensors" else load_checkpoint(path)
    cfg = experiment_in(loaded, path)
    facts = loaded["meta"]["experiment"]
    if cfg.get("tree") != "detection" or "base_classes" not in facts or "state_dict" not in loaded:
        raise UserError(f"{path}: no detector, it was trained by an experiment of the {cfg.get('tree')} tree")
    check_experiment(cfg.to_dict(), path)  # somebody else may have written it
    if isinstance(cfg.data, list):  # many sets: what they were is no matter now
        cfg.data = {"novel_classes": []}
    cfg.data.base_classes = list(facts["base_classes"])
    return _filled(cfg, loaded, path)


def _filled(cfg: Config, loaded: dict, checkpoint: str | Path) -> Detector:
    """The model of an experiment whose classes are known, with a checkpoint's weights."""
    size_model(cfg)
    model_cfg = cfg.model
    whole = "backbone" not in loaded
    if whole:
        _without_pretrained(model_cfg)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(model_cfg)
    state = loaded["state_dict"] if whole else with_backbone(loaded, model, checkpoint)
    check_weights(model, state, checkpoint)
    model.load_state_dict(state)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Detector(model.to(device).eval(), cfg, dict(loaded.get("meta", {}).get("training", {})))


def _without_pretrained(node: Any) -> None:
    """Drops `init_cfg` of type Pretrained, and the weights of timm's backbones: the checkpoint brings every weight."""
    if isinstance(node, dict):
        if node.get("type") == "TimmBackbone":
            node["weights"] = None
        if isinstance(node.get("init_cfg"), dict) and node["init_cfg"].get("type") == "Pretrained":
            node["init_cfg"] = None
        for value in node.values():
            _without_pretrained(value)
