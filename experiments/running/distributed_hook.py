"""What several processes of one training share beside the gradients."""

from typing import Any

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Logs the mean of every loss over the processes; each by itself knows only that of its own images.

    mmengine logs the first process's. Comes before the hook that takes the losses down.
    """

    priority = "HIGHEST"

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        if not outputs or get_world_size() == 1:
            return
        local = {name: float(value) for name, value in outputs.items()}
        parts = all_gather_object(local)  # by name: a process may have had no region for one of them
        for name in local:
            values = [part[name] for part in parts if name in part]
            outputs[name] = torch.tensor(sum(values) / len(values))
