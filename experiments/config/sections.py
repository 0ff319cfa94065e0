"""What mmengine reads of a configuration, section by section: its keys, and the registries that its types come from."""

import inspect
from typing import Any

import mmengine.registry as registries
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from repmet.installation import data_folder

# What Runner takes, and what it reads from `cfg` without taking it.
RUNNER_KEYS = (set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}) | {
    "model_wrapper_cfg",
    "sync_bn",
    "find_unused_parameters",
    "compile",
    "activation_checkpointing",
    "efficient_conv_bn_eval",
}

# What the launcher reads itself, and mmengine never sees.
LAUNCHER_KEYS = {"tree", "online_log"}

MODULE = ("MODELS", "TASK_UTILS")
# The registries that a section's types are looked up in, by the section, then by the nearest key that decides it.
BY_SECTION = {
    "model": MODULE,
    "data_preprocessor": ("MODELS",),
    "model_wrapper_cfg": ("MODEL_WRAPPERS",),
    "train_dataloader": ("DATA_SAMPLERS",),
    "val_dataloader": ("DATA_SAMPLERS",),
    "test_dataloader": ("DATA_SAMPLERS",),
    "train_cfg": ("LOOPS",),
    "val_cfg": ("LOOPS",),
    "test_cfg": ("LOOPS",),
    "val_evaluator": ("METRICS", "EVALUATOR"),
    "test_evaluator": ("METRICS", "EVALUATOR"),
    "optim_wrapper": ("OPTIM_WRAPPERS",),
    "param_scheduler": ("PARAM_SCHEDULERS",),
    "default_hooks": ("HOOKS",),
    "custom_hooks": ("HOOKS",),
    "visualizer": ("VISUALIZERS",),
    "log_processor": ("LOG_PROCESSORS",),
}
BY_KEY = {
    "dataset": ("DATASETS",),
    "datasets": ("DATASETS",),
    "transform": ("TRANSFORMS",),
    "transforms": ("TRANSFORMS",),
    "optimizer": ("OPTIMIZERS",),
    "init_cfg": ("WEIGHT_INITIALIZERS",),
    "vis_backends": ("VISBACKENDS",),
    "collate_fn": ("FUNCTIONS",),
    "worker_init_fn": ("FUNCTIONS",),
}
EVERYWHERE = tuple(name for name in vars(registries) if isinstance(getattr(registries, name), Registry))

# Keys that a builder takes out before it calls the constructor, by the key or section that holds them.
TAKEN_BY_BUILDER = {
    "default_hooks": {"priority"},
    "custom_hooks": {"priority"},
    "param_scheduler": {"convert_to_iter_based"},
    "optim_wrapper": {"constructor", "paramwise_cfg", "optimizer"},
    "init_cfg": {"override"},
    "override": {"name"},
    "norm_cfg": {"requires_grad"},
    "conv_cfg": {"fallback_on_stride"},
    "dcn": {"fallback_on_stride"},
}
PARAMWISE = dict.fromkeys(
    ("bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "flat_decay_mult", "dwconv_decay_mult", "dcn_offset_lr_mult")
)
# Sections without a `type`: their keys; None is any value.
PLAIN_SECTIONS: dict[str, dict] = {
    "randomness": {"seed": None, "diff_rank_seed": None, "deterministic": None},
    "online_log": dict.fromkeys(("service", "project", "group", "name", "mode")),  # see `experiments.running.online_log`
    "auto_scale_lr": {"base_batch_size": None, "enable": None},
    "env_cfg": {
        "cudnn_benchmark": None,
        "resource_limit": None,
        "mp_cfg": {"mp_start_method": None, "opencv_num_threads": None},
        "dist_cfg": {"backend": None, "timeout": None},
    },
    "default_hooks": dict.fromkeys(
        ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint", "visualization")
    ),
}
FILES = ("checkpoint", "weights")  # keys of a model that name a file
PLAIN_KEYS: dict[str, dict] = {
    "paramwise_cfg": PARAMWISE | {"custom_keys": None, "bypass_duplicate": None},
    "clip_grad": dict.fromkeys(("type", "max_norm", "norm_type", "error_if_nonfinite", "foreach", "clip_value")),
}
TRAIN_LOOP = {
    name
    for loop in (EpochBasedTrainLoop, IterBasedTrainLoop)
    for name in inspect.signature(loop.__init__).parameters
    if name not in ("self", "runner", "dataloader")
}
DATALOADER = (set(inspect.signature(DataLoader.__init__).parameters) - {"self"}) | {"num_batch_per_epoch"}


def place_data(section: Any) -> None:
    """Where an installed package puts data that an experiment names relative to a checkout."""
    sets = (section.get("sets") or []) if isinstance(section, dict) else []
    for part in section if isinstance(section, list) else [section, *sets]:
        if isinstance(part, dict) and isinstance(part.get("root"), str):
            part["root"] = str(data_folder(part["root"]))
