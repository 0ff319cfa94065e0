"""Accuracies over a full set, from embeddings computed once and representatives: how often a rule gives the right class.

    batch         nearest mean of the training batch's own clusters, on the batch alone
    simple        nearest representative
    magnet        kNC (Rippel et al. 2016, eq. 6): `sum over the L nearest of class c of exp(-d2 / (2 sigma2))`
    repmet        the same sum over all representatives (Karlinsky et al. 2019, eq. 5)
    unsupervised  k-means on the evaluated set (see `clustering`)

One variance `sigma2` serves both sums. With one representative a class simple, magnet and repmet are one. Of tied classes
the first is taken. Shape legend: n images, N classes, K representatives a class, e embedding dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from repmet.classification.metrics.clustering import unsupervised_accuracy
from repmet.errors import UserError
from repmet.model_definitions.losses.magnet import knc
from repmet.model_definitions.representatives import soft_posterior, squared_distances

NEAREST = 128  # L of the Magnet paper's codes
_BLOCK = 1 << 22  # distances at a time: 16 MB


def predictions(
    embeddings: Tensor,
    representatives: Tensor,
    sigma2: float | Tensor,
    *,
    present: Tensor | None = None,
    nearest: int = NEAREST,
) -> dict[str, Tensor]:
    """What the rules simple, magnet and repmet say.

    Args:
        embeddings: (n, e), representatives: (N, K, e), on one device.
        sigma2: the variance in both sums, positive: the square of a RepMet loss' sigma, the running variance of Magnet.
        present: (N, K), False or 0 where a class has fewer than K representatives, such as `ClusterIndex.counts`.
        nearest: L.

    Returns:
        By rule (n,) classes, 0..N-1.

    Raises:
        ValueError: `sigma2` is not positive, shapes do not fit, no representative at all, embeddings that are not finite.
    """
    sigma2 = float(sigma2)
    if not 0 < sigma2 < math.inf:
        raise UserError(f"sigma2 is a variance and must be positive and finite, not {sigma2}")
    if embeddings.dim() != 2 or representatives.dim() != 3 or embeddings.shape[1] != representatives.shape[2]:
        raise UserError(
            "accuracies take embeddings (n, e) and representatives (N, K, e), not "
            f"{tuple(embeddings.shape)} and {tuple(representatives.shape)}"
        )
    if not embeddings.isfinite().all():
        raise UserError(f"{int((~embeddings.isfinite()).any(1).sum())} of {len(embeddings)} embeddings are not finite")
    embeddings, representatives = embeddings.detach(), representatives.detach()
    absent = None if present is None else _absent(present, representatives)
    predicted: dict[str, list[Tensor]] = {"simple": [], "magnet": [], "repmet": []}
    for block in embeddings.split(max(1, _BLOCK // representatives[..., 0].numel())):
        d2 = squared_distances(block, representatives)  # (b, N, K)
        if absent is not None:
            d2 = d2.masked_fill(absent, torch.inf)
        predicted["simple"].append(d2.amin(-1).argmin(-1))
        predicted["magnet"].append(knc(d2, sigma2, nearest).argmax(-1))
        predicted["repmet"].append(soft_posterior(d2, math.sqrt(sigma2)).argmax(-1))
    return {rule: torch.cat(parts) for rule, parts in predicted.items()}


def all_accuracies(
    embeddings: Tensor,
    labels: Tensor,
    representatives: Tensor,
    sigma2: float | Tensor,
    *,
    present: Tensor | None = None,
    nearest: int = NEAREST,
    assignment: str | None = "hungarian",
    seed: int = 0,
) -> dict[str, float]:
    """Fractions of right images by rule: simple, magnet, repmet and unsupervised.

    Args:
        labels: (n,) values 0..N-1, n at least 1.
        assignment: of the clusters to classes, see `clustering`; None leaves unsupervised out, which takes the longest.
        seed: of its k-means.
        embeddings, representatives, sigma2, present, nearest: see `predictions`.

    Raises:
        ValueError: labels of another number or outside 0..N-1, and what `predictions` refuses.
    """
    if labels.shape != embeddings.shape[:1] or not len(labels):
        raise UserError(f"{len(embeddings)} embeddings need as many labels (n,), n at least 1, not {tuple(labels.shape)}")
    if labels.min() < 0 or labels.max() >= len(representatives):
        raise UserError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, there are representatives of "
            f"{len(representatives)} classes"
        )
    predicted = predictions(embeddings, representatives, sigma2, present=present, nearest=nearest)
    truth = labels.to(embeddings.device)
    accuracies = {rule: (classes == truth).double().mean().item() for rule, classes in predicted.items()}
    if assignment is not None:
        accuracies["unsupervised"] = unsupervised_accuracy(embeddings, labels, assignment=assignment, seed=seed)
    return accuracies


def batch_accuracy(embeddings: Tensor, cluster_classes: Tensor) -> Tensor:
    """Of a batch of clusters, how many samples have a mean of their class as their nearest one.

    Another cluster of the sample's class counts as right: it is classes that are told apart.

    Args:
        embeddings: (M, D, e), D samples of each of M clusters.
        cluster_classes: (M,).

    Returns:
        A scalar on the embeddings' device, which is not waited for.

    Raises:
        ValueError: shapes that do not fit.
    """
    if embeddings.dim() != 3 or cluster_classes.shape != embeddings.shape[:1]:
        raise UserError(
            "batch_accuracy takes embeddings (M, D, e) and the classes (M,) of the clusters, not "
            f"{tuple(embeddings.shape)} and {tuple(cluster_classes.shape)}"
        )
    embeddings = embeddings.detach()
    d2 = squared_distances(embeddings, embeddings.mean(1)[:, None]).squeeze(-1)  # (M, D, M)
    return (cluster_classes[d2.argmin(-1)] == cluster_classes[:, None]).float().mean()


def _absent(present: Tensor, representatives: Tensor) -> Tensor:
    if present.shape != representatives.shape[:2] or not present.any():
        raise UserError(
            f"present {tuple(present.shape)} must say of {tuple(representatives.shape[:2])} representatives which are "
            "there, at least one"
        )
    return ~present.bool().to(representatives.device)
