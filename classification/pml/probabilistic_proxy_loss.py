"""Cross-entropy over probabilistic proxies as a loss of pytorch-metric-learning."""

from typing import Any

import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import WeightRegularizerMixin
from pytorch_metric_learning.utils import common_functions as c_f
from torch import Tensor

from repmet.classification.pml.base import BaseBatchLoss, per_sample, sample_weights, whole
from repmet.errors import UserError
from repmet.model_definitions.labels import check_range
from repmet.model_definitions.losses.probabilistic_proxies import (
    DEVIANCE_OVER,
    ProbabilisticProxies,
    binomial_deviance,
    proxy_anchor_loss,
)


class ProbabilisticProxyLoss(WeightRegularizerMixin, BaseBatchLoss):
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
            raise UserError(f"guidance_weight must be at least 0, not {guidance_weight}")
        if not 0 <= proxy_share <= 1:
            raise UserError(f"proxy_share is a share from 0 to 1, not {proxy_share}")
        if deviance not in (None, *DEVIANCE_OVER):
            raise UserError(f"deviance is over {' or '.join(DEVIANCE_OVER)}, or null, not {deviance!r}")
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
        check_range(labels, len(self.proxies.directions))
        classes, targets = self._classes(labels)
        similarities = self.proxies(embeddings, classes)
        if self.deviance:
            terms = {
                "loss": whole(
                    binomial_deviance(similarities, targets, self.deviance_alpha, self.deviance_delta, self.deviance)
                )
            }
        else:
            losses = F.cross_entropy(similarities, targets, reduction="none")  # (B,)
            losses = losses * sample_weights(indices_tuple, labels, losses)
            terms = {"loss": per_sample(losses, c_f.torch_arange_from_size(embeddings))}
        if self.guidance_weight:
            with torch.autocast(embeddings.device.type, enabled=False):
                means = self.proxies.means
                cosines = F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, means.dtype)), dim=1) @ means.T
                guidance = proxy_anchor_loss(cosines, labels, self.guidance_margin, self.guidance_alpha)
            terms["guidance_loss"] = whole(self.guidance_weight * guidance)
        self.add_weight_regularization_to_loss_dict(terms, self.proxies.directions)
        return terms

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
        parameters = dict(self.proxies.named_parameters())
        return [
            {"params": [parameters[name]], "lr": lr * rate, "weight_decay": 0.0}
            for name, rate in rates.items()
            if name in parameters
        ]
