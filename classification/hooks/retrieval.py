"""Hooks of metric learning: retrieval figures while training, and proxies that start where their classes lie."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.runner import Runner

from repmet.classification.metrics.retrieval_figures import DEFAULT_FIGURES, lower_is_better, retrieval_figures
from repmet.classification.protocols.embedding import as_tested, embed_split, unwrapped
from repmet.errors import UserError


@HOOKS.register_module()
class RetrievalHook(Hook):
    """Retrieves the validation split in itself, and keeps a checkpoint for each figure that is to be stored.

    Args:
        metrics: what is measured, names of `retrieval_figures`.
        store: of these, each has a checkpoint of its best value, `best_<name>.pth`; the first has `best.pth` too. The best
            is the highest, and the lowest of risks and distances (`lower_is_better`).
        interval: epochs between two measurements.
        train_metrics: measure the training set too.
        patience: stop after so many measurements without a better first figure; None: never.
        dataset, pipeline: the validation split and the transforms of the test; the tree fills them in.

    Raises:
        ValueError: an interval or patience below 1, a figure to store that is not measured.
    """

    priority = "LOW"  # before the checkpoint is written, which keeps the state

    def __init__(
        self,
        metrics: Sequence[str] = DEFAULT_FIGURES,
        store: Sequence[str] = ("recall@1",),
        interval: int = 1,
        train_metrics: bool = False,
        patience: int | None = None,
        dataset: Mapping[str, Any] | None = None,
        pipeline: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        if interval < 1 or (patience is not None and patience < 1):
            raise UserError(f"RetrievalHook: interval {interval} and patience {patience} must be at least 1")
        if missing := [name for name in store if name not in metrics]:
            raise UserError(f"RetrievalHook stores by {missing[0]!r}, which is not among its metrics: {', '.join(metrics)}")
        self.metrics, self.store, self.interval = tuple(metrics), tuple(store), interval
        self.train_metrics, self.patience, self.pipeline = train_metrics, patience, list(pipeline or [])
        self.images = DATASETS.build(dict(dataset or {}))
        self.best = {name: math.inf if lower_is_better(name) else -math.inf for name in self.store}
        self.stale = 0

    def before_train(self, runner: Runner) -> None:
        self._stop_where_stale(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self.measure(runner)

    def measure(self, runner: Runner) -> None:
        """Computes and logs the figures; writes the checkpoints of those that are better."""
        method = unwrapped(runner.model)
        figures = retrieval_figures(embed_split(method, self.images), self.images.labels, self.metrics)
        scalars = {f"val/{name}": value for name, value in figures.items()}
        if self.train_metrics:
            plain = as_tested(runner.train_dataloader.dataset, self.pipeline)
            of_training = retrieval_figures(embed_split(method, plain), plain.labels, self.metrics)
            scalars |= {f"train/{name}": value for name, value in of_training.items()}
        runner.visualizer.add_scalars(scalars, step=runner.iter)
        better = [name for name in self.store if self._better(name, figures[name])]
        self.best |= {name: figures[name] for name in better}
        if self.store:
            self.stale = 0 if self.store[0] in better else self.stale + 1
        shown = ", ".join(f"{name} {value:.4f}" for name, value in scalars.items())
        runner.logger.info(
            f"retrieval, epoch {runner.epoch + 1}: {shown}" + (f" (best {', '.join(better)})" if better else "")
        )
        files = [f"best_{name.replace(' ', '_').replace('/', '_over_')}.pth" for name in better]
        for name in [*files, *(["best.pth"] if self.store and self.store[0] in better else [])]:
            runner.save_checkpoint(runner.work_dir, name, save_optimizer=False, save_param_scheduler=False)
        self._stop_where_stale(runner)

    def _better(self, name: str, value: float) -> bool:
        return value < self.best[name] if lower_is_better(name) else value > self.best[name]

    def _stop_where_stale(self, runner: Runner) -> None:
        if self.patience is not None and self.stale >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.info(f"stops: {self.store[0]} has not improved on {self.best[self.store[0]]:.4f}")

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint["meta"]["retrieval"] = {"best": dict(self.best), "stale": self.stale}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        kept = checkpoint.get("meta", {}).get("retrieval")
        if runner._resume and kept and kept["best"].keys() == self.best.keys():
            self.best, self.stale = dict(kept["best"]), kept["stale"]


@HOOKS.register_module()
class WarmStartHook(Hook):
    """Starts proxies where their classes lie, and lets them settle before the network moves.

    Args:
        class_means: put the proxies onto the class means of the training set's embeddings, in a training that begins; one
            that is resumed or starts from a checkpoint (`load_from`) keeps those that it has.
        proxies_only: epochs in which nothing but the loss's own parameters is trained.
        pipeline: the transforms of the test; the tree fills them in.

    Raises:
        ValueError: a loss without proxies to start (it has no `start`).
    """

    priority = "HIGH"

    def __init__(
        self, class_means: bool = True, proxies_only: int = 0, pipeline: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        self.class_means, self.proxies_only, self.pipeline = class_means, proxies_only, list(pipeline or [])
        self._held: list[torch.nn.Parameter] = []

    def before_train(self, runner: Runner) -> None:
        criterion = getattr(unwrapped(runner.model), "criterion", None)
        if not hasattr(criterion, "start"):
            raise UserError(f"WarmStartHook starts the proxies of a loss; {type(criterion).__name__} has none to start")
        if self.class_means and runner.iter == 0 and not runner._load_from:
            images = as_tested(runner.train_dataloader.dataset, self.pipeline)
            device = next(criterion.parameters()).device
            criterion.start(embed_split(unwrapped(runner.model), images).to(device), images.labels.to(device))
            runner.logger.info("proxies start from the class means of the training set")

    def before_train_epoch(self, runner: Runner) -> None:
        method = unwrapped(runner.model)
        if runner.epoch < self.proxies_only and not self._held:
            proxies = {id(p) for p in method.criterion.parameters()}
            self._held = [p for p in method.parameters() if p.requires_grad and id(p) not in proxies]
            for parameter in self._held:
                parameter.requires_grad_(False)
                parameter.grad = None
        elif runner.epoch >= self.proxies_only and self._held:
            for parameter in self._held:
                parameter.requires_grad_(True)
            self._held = []
