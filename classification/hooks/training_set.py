"""Hooks on the training set: Magnet's cluster index, representatives that start from clusters, splits that stay."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from repmet.classification.methods import Magnet, RepMet
from repmet.classification.protocols.embedding import as_tested, embed_split, unwrapped
from repmet.errors import UserError


def _generator(runner: Runner, step: int) -> torch.Generator:
    """Random numbers of the training's seed and step alone, so that a resumed training draws the same."""
    return torch.Generator().manual_seed(runner.seed * 1_000_003 + step)


class _TrainingSetHook(Hook):
    """What the hooks that embed the whole training set share.

    Args:
        pipeline: the transforms of the test; the tree fills them in.
    """

    method: type

    def __init__(self, pipeline: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.pipeline = list(pipeline or [])

    def _method(self, runner: Runner) -> Any:
        method = unwrapped(runner.model)
        if not isinstance(method, self.method):
            raise UserError(f"{type(self).__name__} is a hook of {self.method.__name__}, not of {type(method).__name__}")
        return method

    def _embedded(self, runner: Runner) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (n, e) of the training set as the test sees it, and labels (n,)."""
        images = as_tested(runner.train_dataloader.dataset, self.pipeline)
        return embed_split(unwrapped(runner.model), images), images.labels


@HOOKS.register_module()
class SplitSeedHook(Hook):
    """Refuses to resume a training whose splits were drawn by another seed: it would go on with images of the test.

    Args:
        seed: by which the splits of this run are drawn; the tree fills it in where they follow the training's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        trained_seed = checkpoint.get("meta", {}).get("seed", self.seed)
        if runner._resume and trained_seed != self.seed:
            raise UserError(
                f"the splits are drawn by the training's seed, it was {trained_seed} and is {self.seed} now: "
                f"resume with --seed {trained_seed}"
            )


@HOOKS.register_module()
class ClusteredStartHook(_TrainingSetHook):
    """Puts RepMet's representatives onto k-means centres when a training starts whose weights have not started yet.

    A resumed training, or one that begins from a checkpoint, keeps the representatives that it loaded.
    """

    priority = "HIGH"
    method = RepMet

    def before_train(self, runner: Runner) -> None:
        method = self._method(runner)
        if not method.started:
            method.start(*self._embedded(runner), generator=_generator(runner, 0))
            runner.logger.info("representatives start from the k-means centres of their classes")


@HOOKS.register_module()
class IndexHook(_TrainingSetHook):
    """Refreshes Magnet's cluster index: before the first epoch, after every epoch, and every `interval` iterations.

    The embeddings are those of the images without augmentation, in evaluation mode; train mode is restored. A refresh at
    the end of an epoch comes before validation and checkpoint, so that both go with the weights.

    Args:
        interval: iterations between two refreshes within an epoch; None: none.
        pipeline: the transforms of the test; the tree fills them in.

    Raises:
        ValueError: an interval below 1, another method than Magnet.
    """

    priority = "NORMAL"
    method = Magnet

    def __init__(self, interval: int | None = None, pipeline: Sequence[Mapping[str, Any]] | None = None) -> None:
        super().__init__(pipeline)
        if interval is not None and interval < 1:
            raise UserError(f"IndexHook: interval is {interval} iterations, it must be at least 1")
        self.interval = interval
        self._refreshed_at = -1

    def before_train(self, runner: Runner) -> None:
        method = self._method(runner)
        if not method.index.ready:
            self._refresh(runner, runner.iter)
        runner.train_dataloader.batch_sampler.index = method.index

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        if self.interval and self.every_n_train_iters(runner, self.interval):
            self._refresh(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        if self._refreshed_at != runner.iter:
            self._refresh(runner, runner.iter)

    def _refresh(self, runner: Runner, step: int) -> None:
        self._method(runner).index.refresh(*self._embedded(runner), generator=_generator(runner, step))
        self._refreshed_at = step
