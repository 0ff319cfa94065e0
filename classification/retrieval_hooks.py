"""Hooks of metric learning: retrieval figures while training, and proxies that start where their classes lie."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.runner import Runner
from torch import Tensor

from classification.embedding import as_tested, embed_split, unwrapped
from classification.metrics.clusterings import cluster_figures
from classification.metrics.retrieval import retrieve
from classification.metrics.uncertainty import uncertainty_figures

DEFAULT_FIGURES = ("recall@1", "recall@2", "recall@4", "recall@8", "R-precision", "MAP@R")


def retrieval_figures(embeddings: Tensor, labels: Tensor, names: Sequence[str] = DEFAULT_FIGURES) -> dict[str, float]:
    """Figures of a set that is retrieved in itself, by name.

    Args:
        embeddings: (n, e), labels: (n,).
        names: `recall@K`, `R-precision`, `MAP@R`, `mAP`, `NMI`, `F1`, `AUROC by norm`, `AUROC by cosine` and
            `AUROC by log-PPK`, all by cosine; with `Euclidean ` before them by distance, but for the last three.

    Raises:
        ValueError: a name that is none of these; what `retrieve` refuses.
    """
    figures: dict[str, float] = {}
    for metric, prefix in (("cosine", ""), ("euclidean", "Euclidean ")):
        own = [n.removeprefix("Euclidean ") for n in names if n.startswith("Euclidean ") == (metric == "euclidean")]
        if not own:
            continue
        ks = [int(n.partition("@")[2]) for n in own if n.startswith("recall@") and n.partition("@")[2].isdigit()]
        found = retrieve(embeddings, labels, metric=metric, recall_at=ks or [1], whole_ranking="mAP" in own)
        made = found.means()
        if any(n.startswith("AUROC") for n in own) and metric == "cosine":
            made |= uncertainty_figures(found, embeddings)
        if {"NMI", "F1"} & set(own):
            made |= cluster_figures(embeddings, labels, metric=metric)
        if unknown := [n for n in own if n not in made]:
            known = ", ".join(["recall@K", "mAP", "NMI", "F1", *(n for n in made if not n.startswith("recall@"))])
            raise ValueError(f"no figure {prefix + unknown[0]!r}; there are: {known}")
        figures |= {prefix + n: made[n] for n in own}
    return {name: figures[name] for name in names}


@HOOKS.register_module()
class RetrievalHook(Hook):
    """Retrieves the validation split in itself, and keeps a checkpoint for each figure that is to be stored.

    Args:
        metrics: what is measured, names of `retrieval_figures`.
        store: of these, each has a checkpoint of its best value, `best_<name>.pth`; the first has `best.pth` too.
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
            raise ValueError(f"RetrievalHook: interval {interval} and patience {patience} must be at least 1")
        if missing := [name for name in store if name not in metrics]:
            raise ValueError(f"RetrievalHook stores by {missing[0]!r}, which is not among its metrics: {', '.join(metrics)}")
        self.metrics, self.store, self.interval = tuple(metrics), tuple(store), interval
        self.train_metrics, self.patience, self.pipeline = train_metrics, patience, list(pipeline or [])
        self.images = DATASETS.build(dict(dataset or {}))
        self.best = dict.fromkeys(self.store, -math.inf)
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
            own = retrieval_figures(embed_split(method, plain), plain.labels, self.metrics)
            scalars |= {f"train/{name}": value for name, value in own.items()}
        runner.visualizer.add_scalars(scalars, step=runner.iter)
        better = [name for name in self.store if figures[name] > self.best[name]]
        self.best |= {name: figures[name] for name in better}
        if self.store:
            self.stale = 0 if self.store[0] in better else self.stale + 1
        shown = ", ".join(f"{name} {value:.4f}" for name, value in scalars.items())
        runner.logger.info(
            f"retrieval, epoch {runner.epoch + 1}: {shown}" + (f" (best {', '.join(better)})" if better else "")
        )
        files = [f"best_{name.replace(' ', '_')}.pth" for name in better]
        for name in [*files, *(["best.pth"] if self.store and self.store[0] in better else [])]:
            runner.save_checkpoint(runner.work_dir, name, save_optimizer=False, save_param_scheduler=False)
        self._stop_where_stale(runner)

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
            raise ValueError(f"WarmStartHook starts the proxies of a loss; {type(criterion).__name__} has none to start")
        if self.class_means and runner.iter == 0 and not runner._load_from:
            images = as_tested(runner.train_dataloader.dataset, self.pipeline)
            device = next(criterion.parameters()).device
            criterion.start(embed_split(unwrapped(runner.model), images).to(device), images.labels.to(device))
            runner.logger.info("proxies start from the class means of the training set")

    def before_train_epoch(self, runner: Runner) -> None:
        method = unwrapped(runner.model)
        if runner.epoch < self.proxies_only and not self._held:
            own = {id(p) for p in method.criterion.parameters()}
            self._held = [p for p in method.parameters() if p.requires_grad and id(p) not in own]
            for parameter in self._held:
                parameter.requires_grad_(False)
                parameter.grad = None
        elif runner.epoch >= self.proxies_only and self._held:
            for parameter in self._held:
                parameter.requires_grad_(True)
            self._held = []
