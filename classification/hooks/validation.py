"""Validation while training: figures on a split that training does not see, the best checkpoint, and when to stop."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.runner import Runner
from torch import Tensor

from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.inputs.groups import class_groups
from repmet.classification.methods.base import ClassRepresentatives, Method
from repmet.classification.methods.prototypical import episode_loss
from repmet.classification.metrics.accuracies import all_accuracies
from repmet.classification.metrics.episodes import Episodes, sample_episodes
from repmet.classification.protocols.embedding import as_tested, embed_split, mean_representatives, unwrapped
from repmet.errors import UserError

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


def other_predictions(method: Method, embeddings: Tensor) -> dict[str, Tensor]:
    """The method's `other_rules` for embeddings (n, e) on the CPU, and their classes there."""
    device = next(method.parameters()).device
    return {rule: predicted.cpu() for rule, predicted in method.other_rules(embeddings.to(device)).items()}


@torch.no_grad()
def set_figures(
    method: Method, embeddings: Tensor, labels: Tensor, representatives: ClassRepresentatives, assignment: str | None
) -> dict[str, float]:
    """Accuracies over a whole set (n, e), (n,), whose classes are the representatives': by rule, as fractions.

    simple, magnet, repmet and, unless `assignment` is None, unsupervised, of `metrics.accuracies`; and the method's
    `other_rules`.
    """
    figures = all_accuracies(
        embeddings,
        labels,
        representatives.points.cpu(),
        representatives.sigma2,
        present=representatives.present,
        assignment=assignment,
    )
    for rule, predicted in other_predictions(method, embeddings).items():
        figures[rule] = (predicted == labels).double().mean().item()
    return figures


@HOOKS.register_module()
class ValidationHook(Hook):
    """Measures a method on the validation split, keeps the best checkpoint as `best.pth`, stops where it stalls.

    The split is embedded once a validation. Where it has the classes of the training set, its figures are the accuracies of
    `metrics.accuracies` over all its images (`simple_accuracy`, `magnet_accuracy`, `repmet_accuracy`,
    `unsupervised_accuracy`, and those of the method's other rules, as `classifier_accuracy`); a method without
    representatives is measured by the class means of the training set. Where the experiment has a section `episodes`, they
    are also `episode_loss` and `episode_accuracy`, over episodes that are drawn once: epochs are compared on equal terms.
    Best figure and patience are kept in the checkpoints: a resumed training stops when an uninterrupted one would.

    Args:
        monitor: the figure that decides; the least loss or the highest accuracy is best.
        interval: epochs (or iterations, without `by_epoch`) between two validations.
        patience: stop after so many validations without a better figure; None: never.
        episodes: how many.
        unsupervised: compute that accuracy too, which takes the longest.
        dataset, protocol, closed, pipeline: the validation split, the section `episodes`, whether the split has the
            training's classes, and the transforms of the test; the tree fills them in.

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
        unsupervised: bool = True,
        dataset: Mapping[str, Any] | None = None,
        protocol: Mapping[str, Any] | None = None,
        closed: bool = False,
        pipeline: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        if interval < 1 or (patience is not None and patience < 1):
            raise UserError(f"ValidationHook: interval {interval} and patience {patience} must be at least 1")
        self.monitor, self.interval, self.by_epoch, self.patience = monitor, interval, by_epoch, patience
        self.assignment = "hungarian" if unsupervised else None
        self.closed, self.pipeline = closed, list(pipeline or [])
        self.images: ImageSet = DATASETS.build(dict(dataset or {}))
        self.episodes = _episodes(self.images, protocol, episodes) if protocol else None
        if not closed and self.episodes is None:
            raise UserError("data.val has other classes than data.train: it takes a section `episodes` to validate on it")
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
        """Computes, logs and compares the figures; writes `best.pth` where they are better."""
        figures = self.figures(unwrapped(runner.model), runner.train_dataloader.dataset)
        runner.visualizer.add_scalars({f"val/{name}": value for name, value in figures.items()}, step=step)
        if self.monitor not in figures:
            raise UserError(f"ValidationHook: no figure {self.monitor!r} to monitor; there are: {', '.join(figures)}")
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

    def figures(self, method: Method, train: ImageSet) -> dict[str, float]:
        """All figures of the split, by name; `train` is the training set."""
        embeddings = embed_split(method, self.images)  # (n, e)
        figures: dict[str, float] = {}
        if self.episodes is not None:
            figures |= episode_figures(embeddings, self.episodes, method.distance)
        if self.closed:
            representatives = method.class_representatives()
            if representatives is None:
                plain = as_tested(train, self.pipeline)
                representatives = mean_representatives(embed_split(method, plain), plain.labels, len(plain.classes))
            accuracies = set_figures(method, embeddings, self.images.labels, representatives, self.assignment)
            figures |= {f"{rule}_accuracy": value for rule, value in accuracies.items()}
        return figures

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


def _episodes(images: ImageSet, protocol: Mapping[str, Any], episodes: int) -> Episodes:
    for key in ("way", "shot", "query"):
        if protocol.get(key) is None:
            raise UserError(f"episodes.{key} is not given: validation by episodes needs it")
    shot = protocol["shot"] if isinstance(protocol["shot"], int) else protocol["shot"][0]
    groups = class_groups(images.classes) if protocol.get("within_groups") else None
    return sample_episodes(images.labels, protocol["way"], shot, protocol["query"], episodes, SEED, groups)
