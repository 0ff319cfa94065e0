"""Our losses in the terms of pytorch-metric-learning: its trainers, miners, reducers, regularisers and distributed wrappers
take them like its own, and a YAML file names them in the same way.

All are called as loss(embeddings (B, e), labels (B,), indices_tuple=None), give one loss a sample to the reducer, weigh the
samples as often as a miner's tuples name them, and take raw embeddings: norms mean something here, so the distance that PML
gives every loss is not used. Parameters keep their type under autocast.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import BaseMetricLossFunction, WeightRegularizerMixin
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from model_definitions.losses.magnet import magnet_loss
from model_definitions.losses.probabilistic_proxies import (
    DEVIANCE_OVER,
    ProbabilisticProxies,
    binomial_deviance,
    proxy_anchor_loss,
)
from model_definitions.losses.prototypical import prototypical_log_probabilities
from model_definitions.losses.repmet import RepMetLoss as RepMetCriterion
from model_definitions.representatives import Representatives, soft_log_posterior


def _per_sample(losses: Tensor, indices: Tensor) -> dict[str, Any]:
    return {"losses": losses, "indices": indices, "reduction_type": "element"}


def _whole(loss: Tensor) -> dict[str, Any]:
    return {"losses": loss, "indices": None, "reduction_type": "already_reduced"}


def _sample_weights(indices_tuple: Any, labels: Tensor, losses: Tensor) -> Tensor:
    """How often a miner's tuples name each sample, relative to the one named most; 1 without a miner. (B,)"""
    return lmu.convert_to_weights(indices_tuple, labels, dtype=losses.dtype)


class _OwnBatch(BaseMetricLossFunction):
    """What all of ours ask for: labels, no other references than the batch, and at least float32, also under autocast: PML
    adds losses up in the type of the embeddings."""

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Any = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        return super().forward(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    def compute_loss(
        self, embeddings: Tensor, labels: Tensor, indices_tuple: Any, ref_emb: Tensor, ref_labels: Tensor
    ) -> dict[str, Any]:
        c_f.labels_required(labels)
        c_f.ref_not_supported(embeddings, labels, ref_emb, ref_labels)
        return self.own_loss(embeddings, labels, indices_tuple) if len(labels) else self.zero_losses()

    def own_loss(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any) -> dict[str, Any]:
        raise NotImplementedError


class ProbabilisticProxyLoss(WeightRegularizerMixin, _OwnBatch):
    """Cross-entropy over the similarities of `ProbabilisticProxies`, guided by Proxy Anchor on their directions.

        `-log softmax_c(sim(image, proxy_c))[y] + guidance_weight ProxyAnchor(cos(image, direction))`

    Args:
        num_classes, embedding_size, similarity: and what else `ProbabilisticProxies` takes.
        guidance_weight: 0 leaves the proxies on their own.
        guidance_margin, guidance_alpha: of Proxy Anchor.
        proxy_share: of the classes that a batch has none of, the share that it is told apart from, drawn anew for each
            batch: quicker with many classes. Proxy Anchor sees all.
        deviance: "images" or "classes": `binomial_deviance` over these, with deviance_alpha and deviance_delta, in the
            place of the cross-entropy; one loss for the whole batch, which neither miners nor reducers weigh.
        kwargs: PML's: reducer, embedding_regularizer, weight_regularizer (of the directions), ...

    Raises:
        ValueError: those of `ProbabilisticProxies`, a negative weight, a share outside 0..1, another `deviance`.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        similarity: str = "el_nivmf",
        *,
        concentration: float = 10.0,
        temperature: float = 0.01,
        learnable_temperature: bool = True,
        samples: int = 5,
        density: str = "exact",
        tempering: str = "inside",
        gradient: str = "implicit",
        sampler: str = "exact",
        normaliser: str = "exact",
        guidance_weight: float = 0.0,
        guidance_margin: float = 0.1,
        guidance_alpha: float = 32.0,
        proxy_share: float = 1.0,
        deviance: str | None = None,
        deviance_alpha: float = 1.0,
        deviance_delta: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if guidance_weight < 0:
            raise ValueError(f"guidance_weight must be at least 0, not {guidance_weight}")
        if not 0 <= proxy_share <= 1:
            raise ValueError(f"proxy_share is a share from 0 to 1, not {proxy_share}")
        if deviance not in (None, *DEVIANCE_OVER):
            raise ValueError(f"deviance is over {' or '.join(DEVIANCE_OVER)}, or null, not {deviance!r}")
        self.guidance_weight = guidance_weight  # before PML asks for the names of the losses
        super().__init__(**kwargs)
        self.guidance_margin, self.guidance_alpha = guidance_margin, guidance_alpha
        self.proxies = ProbabilisticProxies(
            num_classes,
            embedding_size,
            similarity,
            concentration=concentration,
            temperature=temperature,
            learnable_temperature=learnable_temperature,
            samples=samples,
            density=density,
            tempering=tempering,
            gradient=gradient,
            sampler=sampler,
            normaliser=normaliser,
        )
        self.proxy_share = proxy_share
        self.deviance, self.deviance_alpha, self.deviance_delta = deviance, deviance_alpha, deviance_delta

    def own_loss(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any) -> dict[str, Any]:
        classes, own = self._classes(labels)
        similarities = self.proxies(embeddings, classes)
        if self.deviance:
            found = {
                "loss": _whole(binomial_deviance(similarities, own, self.deviance_alpha, self.deviance_delta, self.deviance))
            }
        else:
            losses = F.cross_entropy(similarities, own, reduction="none")  # (B,)
            losses = losses * _sample_weights(indices_tuple, labels, losses)
            found = {"loss": _per_sample(losses, c_f.torch_arange_from_size(embeddings))}
        if self.guidance_weight:
            with torch.autocast(embeddings.device.type, enabled=False):
                means = self.proxies.means
                cosines = F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, means.dtype)), dim=1) @ means.T
                guidance = proxy_anchor_loss(cosines, labels, self.guidance_margin, self.guidance_alpha)
            found["guidance_loss"] = _whole(self.guidance_weight * guidance)
        self.add_weight_regularization_to_loss_dict(found, self.proxies.directions)
        return found

    def _classes(self, labels: Tensor) -> tuple[Tensor | None, Tensor]:
        """The classes (c,) that a batch is told apart from, None for all, and its labels (B,) among them."""
        if self.proxy_share == 1 or not self.training:
            return None, labels
        present = torch.zeros(len(self.proxies.directions), dtype=torch.bool, device=labels.device)
        present[labels] = True
        others = (~present).nonzero().flatten()
        drawn = torch.randperm(len(others))[: round(self.proxy_share * len(others))].to(labels.device)
        present[others[drawn]] = True
        return present.nonzero().flatten(), present.cumsum(0)[labels] - 1

    def _sub_loss_names(self) -> list[str]:
        return ["loss", "guidance_loss"] if self.guidance_weight else ["loss"]

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Similarities (B, C)."""
        return self.proxies(embeddings)

    def start(self, embeddings: Tensor, labels: Tensor) -> None:
        """Warm start: the directions become the class means of a training set's embeddings (n, D)."""
        self.proxies.start(embeddings, labels)

    def parameter_groups(
        self, lr: float, directions: float = 1.0, concentrations: float = 1.0, temperature: float = 1.0
    ) -> list[dict[str, Any]]:
        """Groups for an optimizer, with multiples of a learning rate and without weight decay."""
        rates = {"directions": directions, "log_kappas": concentrations, "log_temperature": temperature}
        own = dict(self.proxies.named_parameters())
        return [{"params": [own[name]], "lr": lr * rate, "weight_decay": 0.0} for name, rate in rates.items() if name in own]


class RepMetLoss(WeightRegularizerMixin, _OwnBatch):
    """RepMet's losses over learnt representatives, K of each class (`model_definitions.losses.repmet`).

    Args:
        num_classes, embedding_size: N and e. num_modes: K.
        variant: one of `repmet.LOSSES`. arguments: its own, such as {margin: 0.5, sigma: 0.5}.
        normalize: hold the representatives on the unit sphere.
        kwargs: PML's; its weight regulariser sees (N * K, e).
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        num_modes: int = 3,
        variant: str = "cvpr",
        arguments: dict[str, Any] | None = None,
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.criterion = RepMetCriterion(variant, **(arguments or {}), reduction="none")
        self.sigma = float(self.criterion.arguments.get("sigma", 0.5))
        self.representatives = Representatives(
            num_classes, num_modes, embedding_size, normalize=normalize, separable=False, std=embedding_size**-0.5
        )

    def own_loss(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any) -> dict[str, Any]:
        losses = self.criterion(self.representatives(embeddings), labels)  # (B,)
        losses = losses * _sample_weights(indices_tuple, labels, losses)
        found = {"loss": _per_sample(losses, c_f.torch_arange_from_size(embeddings))}
        self.add_weight_regularization_to_loss_dict(found, self.representatives.weight.flatten(0, 1))
        return found

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Log posteriors (B, N)."""
        return soft_log_posterior(self.representatives(embeddings), self.sigma)


class _GroupedLoss(_OwnBatch):
    """Losses of batches with as many samples of every class, in any order, such as PML's `MPerClassSampler` gives."""

    least = 2  # samples of a class

    def own_loss(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any) -> dict[str, Any]:
        groups, counts = labels.unique(return_counts=True)
        if len(groups) < 2:  # nothing to tell apart
            return self.zero_losses()
        if counts.min() != counts.max() or counts[0] < self.least:
            raise ValueError(
                f"{type(self).__name__} takes batches with as many samples of every class, at least {self.least}, not "
                f"{counts.min().item()}..{counts.max().item()}; draw them by MPerClassSampler or ClassBatchSampler"
            )
        order = labels.argsort(stable=True)
        losses, kept = self.grouped_loss(embeddings[order].unflatten(0, (len(groups), -1)), groups)
        indices = order.view(len(groups), -1)[:, kept].flatten()
        return {"loss": _per_sample(losses.flatten() * _sample_weights(indices_tuple, labels, losses)[indices], indices)}

    def grouped_loss(self, embeddings: Tensor, groups: Tensor) -> tuple[Tensor, slice]:
        """Losses (M, d) of embeddings (M, D, e) of the groups (M,), and which d of the D samples they are of."""
        raise NotImplementedError


class MagnetLoss(_GroupedLoss):
    """Magnet loss over the clusters of a batch (`model_definitions.losses.magnet`).

    Args:
        alpha: the desired gap.
        clusters_per_class: K: labels are then `class * K + cluster`, as in `ClusterIndex.assignment`; 1: they are classes.
    """

    def __init__(self, alpha: float = 1.0, clusters_per_class: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha, self.clusters_per_class = alpha, clusters_per_class

    def grouped_loss(self, embeddings: Tensor, groups: Tensor) -> tuple[Tensor, slice]:
        losses, _ = magnet_loss(embeddings, groups // self.clusters_per_class, self.alpha, reduction="none")
        return losses, slice(None)


class PrototypicalLoss(_GroupedLoss):
    """The loss of Prototypical Networks: of every class of the batch the first samples are the support, the others queries.

    Args:
        shot: support samples of each. distance: "squared_euclidean" or "cosine".
    """

    def __init__(self, shot: int = 1, distance_to_prototypes: str = "squared_euclidean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if shot < 1:
            raise ValueError(f"an episode needs at least 1 support sample of each class, not {shot}")
        self.shot, self.least, self.distance_to_prototypes = shot, shot + 1, distance_to_prototypes

    def grouped_loss(self, embeddings: Tensor, groups: Tensor) -> tuple[Tensor, slice]:
        support, query = embeddings[:, : self.shot], embeddings[:, self.shot :]
        log_probabilities = prototypical_log_probabilities(
            support.flatten(0, 1), query.flatten(0, 1), len(groups), self.distance_to_prototypes
        )
        own = torch.arange(len(groups), device=groups.device).repeat_interleave(query.shape[1])
        losses = F.nll_loss(log_probabilities, own, reduction="none")
        return losses.view(len(groups), -1), slice(self.shot, None)
