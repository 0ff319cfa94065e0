"""What a training was: images, epochs, time, memory, loss and machine, kept in its checkpoints: tables need no notebook."""

import resource
import sys
import time

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from repmet.experiments.running.provenance import machine
from repmet.wording import counted

STRETCHES = 16  # of the loss curve


@HOOKS.register_module()
class TrainingRecordHook(Hook):
    """Says what is trained on, and writes `meta["training"]` into every checkpoint.

    What is trained on is a data set's `summary()`, where it has one. A resumed run adds its seconds to those before.
    """

    def __init__(self) -> None:
        self._earlier, self._start = 0.0, time.monotonic()

    def before_train(self, runner: Runner) -> None:
        self._start = time.monotonic()
        data = runner.train_dataloader.dataset
        summary = data.summary() if hasattr(data, "summary") else counted(len(data), "image")
        runner.logger.info(f"training on {summary}")

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:  # weights that are only a start bring no time with them
            self._earlier = checkpoint.get("meta", {}).get("training", {}).get("seconds", 0.0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["meta"]["training"] = {
            "images": len(runner.train_dataloader.dataset),
            "epochs": _epochs(runner, checkpoint["meta"]),
            "steps": checkpoint["meta"]["iter"],
            "seconds": round(self._earlier + time.monotonic() - self._start, 1),
            "peak_memory": _peak_memory(),
            "losses": _losses(runner),
            "machine": machine(),
        }


def _epochs(runner: Runner, meta: dict) -> float:
    """Passes over the images; a training by iterations has no epochs of its own, so those are counted by the images."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return meta["epoch"]
    loader = runner.train_dataloader
    return round(meta["iter"] * loader.batch_sampler.batch_size * get_world_size() / len(loader.dataset), 1)


def _peak_memory() -> int:
    """Bytes: of the GPU where there is one, else of this process and without its data workers."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _losses(runner: Runner) -> list[float]:
    """The mean training loss of equal stretches, from the beginning on."""
    logged = runner.message_hub.log_scalars.get("train/loss")
    values = np.asarray(logged.data[0] if logged is not None else [], dtype=float)
    return [round(float(part.mean()), 5) for part in np.array_split(values, STRETCHES) if len(part)]
