"""Validation while training: figures on a split that training does not see, the best checkpoint, and when to stop."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.runner import Runner
from torch import Tensor

from classification.dataset import ImageSet
from classification.embedding import embed_split, unwrapped
from classification.methods import ProtoNet
from classification.methods.base import Method
from classification.methods.prototypical import episode_loss
from classification.metrics.episodes import Episodes, sample_episodes

SEED = 7001  # of the validation's episodes, which are the same at every validation


def episode_figures(embeddings: Tensor, episodes: Episodes, distance: str) -> dict[str, float]:
    """Mean loss and accuracy of Prototypical Networks over episodes, from the whole split's embeddings (n, e)."""
    losses, accuracies = [], []
    for support, query in zip(episodes.support, episodes.query, strict=True):
        loss, accuracy = episode_loss(
            embeddings[support.flatten().long()], embeddings[query.flatten().long()], episodes.way, distance
        )
        losses.append(loss)
        accuracies.append(accuracy)
    return {
        "episode_loss": torch.stack(losses).mean().item(),
        "episode_accuracy": torch.stack(accuracies).mean().item(),
    }


@HOOKS.register_module()
class ValidationHook(Hook):
    """Measures a method on the validation split, keeps the best checkpoint as `best.pth`, stops where it stalls.

    The split is embedded once a validation; its episodes are drawn once, so that epochs are compared on equal terms.
    Best figure and patience are kept in the checkpoints: a resumed training stops when an uninterrupted one would.

    Args:
        monitor: the figure that decides: "episode_loss", "episode_accuracy".
        interval: epochs (or iterations, without `by_epoch`) between two validations.
        patience: stop after so many validations without a better figure; None: never.
        episodes: how many.
        dataset, protocol: the validation split and the section `episodes`; the tree fills them in.

    Raises:
        ValueError: an interval or patience below 1, an unknown `monitor`; the split has too few classes or images.
    """

    priority = "LOW"  # before the checkpoint is written, which keeps the state

    def __init__(
        self,
        monitor: str,
        interval: int = 1,
        by_epoch: bool = True,
        patience: int | None = None,
        episodes: int = 1000,
        dataset: Mapping[str, Any] | None = None,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        if interval < 1 or (patience is not None and patience < 1):
            raise ValueError(f"ValidationHook: interval {interval} and patience {patience} must be at least 1")
        self.monitor, self.interval, self.by_epoch, self.patience = monitor, interval, by_epoch, patience
        self.images: ImageSet = DATASETS.build(dict(dataset or {}))
        self.episodes = _episodes(self.images.labels, protocol or {}, episodes)
        self.best: dict[str, Any] = {"value": math.nan, "epoch": 0, "stale": 0}

    # When ------------------------------------------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        self._stop_where_stale(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch and (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            self.validate(runner, runner.iter)

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        if not self.by_epoch and (self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner)):
            self.validate(runner, runner.iter + 1)

    # What ------------------------------------------------------------------------------------------------------------

    def validate(self, runner: Runner, step: int) -> None:
        method = unwrapped(runner.model)
        figures = self.figures(method)
        runner.visualizer.add_scalars({f"val/{name}": value for name, value in figures.items()}, step=step)
        if self.monitor not in figures:
            raise ValueError(f"ValidationHook: no figure {self.monitor!r} to monitor; there are: {', '.join(figures)}")
        value = figures[self.monitor]
        better = self._better(value)
        if better:
            self.best = {"value": value, "epoch": runner.epoch + 1, "stale": 0}
        else:
            self.best["stale"] += 1
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
        since = "best" if better else f"best {self.best['value']:.4f} at epoch {self.best['epoch']}"
        runner.logger.info(f"validation, epoch {runner.epoch + 1}: {shown} ({since})")
        if better:
            runner.save_checkpoint(
                runner.work_dir, "best.pth", save_optimizer=False, save_param_scheduler=False, by_epoch=self.by_epoch
            )
        self._stop_where_stale(runner)

    def figures(self, method: Method) -> dict[str, float]:
        """All figures of the split, by name."""
        embeddings = embed_split(method, self.images)
        distance = method.distance if isinstance(method, ProtoNet) else "squared_euclidean"
        return episode_figures(embeddings, self.episodes, distance)

    def _better(self, value: float) -> bool:
        best = self.best["value"]
        return math.isnan(best) or (value < best if "loss" in self.monitor else value > best)

    def _stop_where_stale(self, runner: Runner) -> None:
        if self.patience is not None and self.best["stale"] >= self.patience:
            runner.train_loop.stop_training = True
            if is_main_process():
                runner.logger.info(
                    f"stops: {self.monitor} has not improved on {self.best['value']:.4f} of epoch {self.best['epoch']}"
                )

    # Resume ----------------------------------------------------------------------------------------------------------

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["meta"]["validation"] = {"monitor": self.monitor} | self.best

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        kept = checkpoint.get("meta", {}).get("validation")
        if runner._resume and kept and kept["monitor"] == self.monitor:
            self.best = {name: kept[name] for name in self.best}


def _episodes(labels: Tensor, protocol: Mapping[str, Any], episodes: int) -> Episodes:
    for key in ("way", "shot", "query"):
        if protocol.get(key) is None:
            raise ValueError(f"episodes.{key} is not given: validation by episodes needs it")
    shot = protocol["shot"] if isinstance(protocol["shot"], int) else protocol["shot"][0]
    return sample_episodes(labels, protocol["way"], shot, protocol["query"], episodes, SEED)
