"""Hooks that every experiment runs with: reseeding for an exact resume, and checkpoints that outlive a kill."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import FUNCTIONS, HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from repmet.data.files.atomic import write_text


def reseed(*keys: int) -> None:
    """Seeds Python, NumPy and torch from a tuple of numbers, so that near tuples give unrelated streams."""
    words = np.random.SeedSequence(keys).generate_state(4, np.uint32)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]) << 32 | int(words[3]))


@FUNCTIONS.register_module()
def seed_worker(worker_id: int, **_: Any) -> None:
    """Seeds a data worker from torch's own seed for it, which is another one in every epoch.

    mmengine's `worker_init_fn` repeats one stream of augmentations in every epoch.
    """
    seed = torch.initial_seed()
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF])


@HOOKS.register_module()
class ReseedHook(Hook):
    """Starts every epoch from (seed, epoch, rank), so that a training resumed at an epoch draws what it would have drawn.

    A training by iterations starts every iteration so; with data workers, which read ahead, that is exact for the model
    alone.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            reseed(runner.seed, runner.epoch, get_rank())
        else:
            # Its own generator, or else making the data loader's iterator, which a resume does anew, would draw from ours.
            runner.train_dataloader.generator = torch.Generator().manual_seed(runner.seed + runner.iter)
            reseed(runner.seed, runner.iter, get_rank())

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            reseed(runner.seed, runner.iter + 1, get_rank())


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains convolutions in channels-last memory, the layout that their kernels prefer; the values' meaning is the same."""

    def before_train(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)


@HOOKS.register_module(name="CheckpointHook", force=True)
class SafeCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, in the order that outlives a kill: write the new one, point to it, delete the old one.

    It takes the name of mmengine's, so that inherited configurations get it as well.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = None
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated = self.keep_ckpt_ids.popleft()
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        path = Path(self.out_dir) / self.filename_tmpl.format(step)
        self.last_ckpt = str(path)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            path.name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
        )
        if not is_main_process():
            return
        write_text(Path(runner.work_dir) / "last_checkpoint", path.name)
        if outdated is not None:
            (Path(self.out_dir) / self.filename_tmpl.format(outdated)).unlink(missing_ok=True)
