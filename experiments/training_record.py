"""What a training was: images, epochs, seconds and machine, kept in its checkpoints, so that tables need no notebook."""

import time

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from experiments.provenance import machine


@HOOKS.register_module()
class TrainingRecordHook(Hook):
    """Writes `meta["training"]` into every checkpoint; a resumed run adds its seconds to those before."""

    def __init__(self) -> None:
        self._earlier, self._start = 0.0, time.monotonic()

    def before_train(self, runner: Runner) -> None:
        self._start = time.monotonic()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:  # weights that are only a start bring no time with them
            self._earlier = checkpoint.get("meta", {}).get("training", {}).get("seconds", 0.0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["meta"]["training"] = {
            "images": len(runner.train_dataloader.dataset),
            "epochs": checkpoint["meta"]["epoch"],
            "seconds": round(self._earlier + time.monotonic() - self._start, 1),
            "machine": machine(),
        }
