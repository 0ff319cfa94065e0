"""A training that has diverged stops, and what it was before is kept."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from repmet.errors import UserError
from repmet.experiments.running.checkpoints import latest_checkpoint


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stops a training whose loss or weights are not finite; the last checkpoint, which was finite, stays the last.

    Raises:
        UserError: it names what is not finite, when, and the checkpoint that is kept.
    """

    priority = "VERY_HIGH"  # before anything is written

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        for name, value in (outputs or {}).items():
            number = float(value.detach() if isinstance(value, torch.Tensor) else value)
            if "loss" in name and not math.isfinite(number):
                raise _diverged(runner, f"{name} is {number}")

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for name, parameter in model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise _diverged(runner, f"{name} is not finite")


def _diverged(runner: Runner, what: str) -> UserError:
    kept = latest_checkpoint(runner.work_dir)
    left = f"the last finite checkpoint is {kept}" if kept else "there is no checkpoint yet"
    return UserError(
        f"{what} in epoch {runner.epoch + 1}, iteration {runner.iter + 1}: the training stops, {left}. Lower the learning "
        "rate, warm it up, or clip the gradients"
    )
