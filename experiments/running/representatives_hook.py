"""Watches the representatives while a model learns them."""

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.representatives import Representatives


def representative_statistics(weight: Tensor) -> dict[str, float]:
    """How the representatives lie, as Euclidean lengths.

    Args:
        weight: (N, K, e), K modes of each of N classes.

    Returns:
        `norm`: mean length; `class_distance_min`, `class_distance_mean`: between representatives of two classes (absent for
        N = 1); `mode_spread`: mean distance of a mode from its class's mean.
    """
    weight = weight.detach().float()
    num_classes, num_modes, dim = weight.shape
    flat = weight.reshape(-1, dim)  # (N * K, e)
    statistics = {
        "norm": flat.norm(dim=1).mean().item(),
        "mode_spread": (weight - weight.mean(dim=1, keepdim=True)).norm(dim=-1).mean().item(),
    }
    if num_classes > 1:
        label = torch.arange(num_classes, device=weight.device).repeat_interleave(num_modes)
        between = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")[label[:, None] != label]
        statistics["class_distance_min"] = between.min().item()
        statistics["class_distance_mean"] = between.mean().item()
    return statistics


@HOOKS.register_module()
class RepresentativesHook(Hook):
    """Writes the statistics of every `Representatives` of a model as scalars, and its points to the embedding projector.

    Args:
        interval: epochs between two statistics; the points are written at the end. A training by iterations counts as
            one epoch.

    Raises:
        ValueError: `interval` is below 1.
    """

    priority = "LOW"

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise UserError(f"RepresentativesHook: interval is {interval}, it must be at least 1")
        self.interval = interval

    def after_train_epoch(self, runner: Runner) -> None:
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            for name, module in _representatives(runner):
                values = representative_statistics(module.points)
                runner.visualizer.add_scalars({f"{name}/{k}": v for k, v in values.items()}, step=runner.iter)

    def after_train(self, runner: Runner) -> None:
        backend = runner.visualizer.get_backend("TensorboardXVisBackend")
        if backend is None or not is_main_process():
            return
        classes = list((getattr(runner.train_dataloader.dataset, "metainfo", None) or {}).get("classes") or [])
        for name, module in _representatives(runner):
            points = module.points.detach().float().cpu()  # (N, K, e)
            num_classes, num_modes, dim = points.shape
            names = classes if len(classes) == num_classes else [f"class {i}" for i in range(num_classes)]
            labels = [[str(c), str(k)] for c in names for k in range(num_modes)]
            backend.writer(runner.iter).add_embedding(
                points.reshape(-1, dim), labels, tag=name, global_step=runner.iter, metadata_header=["class", "mode"]
            )


def _representatives(runner: Runner) -> list[tuple[str, Representatives]]:
    model: nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return [(name or "representatives", m) for name, m in model.named_modules() if isinstance(m, Representatives)]
