"""Proxies that are distributions, and how alike images are to them (Kirchhof et al., ECCV 2022).

An embedding e is the distribution vMF(e / |e|, |e|): its norm says how certain it is. A class is a proxy direction with
concentrations. The loss is the cross-entropy of a softmax over the similarities, as in ProxyNCA++ (E. Teh, T. DeVries,
G. Taylor, ECCV 2020). Shapes: B images, C classes, D dimensions.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.labels import check_range
from repmet.model_definitions.nivmf import (
    DENSITIES,
    TEMPERING,
    expected_likelihood,
    expected_likelihood_released,
    nivmf_log_density,
)
from repmet.model_definitions.representatives import squared_distances
from repmet.model_definitions.vmf import kl_divergence, log_probability_product_ratio
from repmet.model_definitions.vmf_normalisers import NORMALISERS, normaliser_ratio
from repmet.model_definitions.vmf_sampling import GRADIENTS, SAMPLERS

PER_DIMENSION = ("el_nivmf", "el_nivmf_closed", "nivmf")  # similarities whose proxies have a concentration a dimension
SIMILARITIES = (*PER_DIMENSION, "el_vmf", "b_vmf", "kl_vmf", "kl_vmf_released", "l2", "cosine")
DEVIANCE_OVER = ("images", "classes")
_LEAST = 1e-6  # norm of an embedding that still has a direction


class ProbabilisticProxies(nn.Module):
    """Learnt proxies: embeddings (B, D) -> similarities (B, C), divided by the temperature t. Terms that are the same for
    all classes are left out.

        el_nivmf         log expected likelihood of the class's nivMF, by samples of the image's vMF
        el_nivmf_closed  the same of the "released" density, in closed form
        nivmf            log density of the class's nivMF at the image's direction
        el_vmf           log expected likelihood of two vMF;  b_vmf: log Bhattacharyya coefficient
        kl_vmf           -KL(image || class) of two vMF
        kl_vmf_released  -log C(k2) - k2 cos, what the nivMF repository has for KL: of the wrong sign, and without A_D(k1)
        l2               -|e - kappa mu|^2
        cosine           cos(e, mu): normalised softmax, ProxyNCA++

    Parameters: `directions` (C, D), of which the direction counts; `log_kappas`, (C, D) of a nivMF, (C, 1) of a vMF and l2;
    `log_temperature`, (). In log space: concentrations stay positive, with a gradient everywhere. Computed in at least
    float32, also under autocast.

    Args:
        num_classes: C. dim: D >= 2.
        similarity: one of the above.
        concentration: initial kappas: about the embeddings' norms at the start.
        temperature: t, initial or fixed as `learnable_temperature` says.
        samples, density, tempering, gradient, sampler: of el_nivmf, see `model_definitions.nivmf`; nivmf has a density too.
        normaliser: of classes, and of images but for kl_vmf, see `model_definitions.vmf_normalisers`.

    Raises:
        ValueError: an unknown name, a size or number out of range; the released sampler with an implicit gradient; the exact
            KL divergence by another normaliser; embeddings of another dimension.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
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
    ) -> None:
        super().__init__()
        choices = {
            "similarity": (similarity, SIMILARITIES),
            "density": (density, DENSITIES),
            "tempering": (tempering, TEMPERING),
            "gradient": (gradient, GRADIENTS),
            "sampler": (sampler, SAMPLERS),
            "normaliser": (normaliser, NORMALISERS),
        }
        for name, (value, known) in choices.items():
            if value not in known:
                raise UserError(f"ProbabilisticProxies: {name} is one of {', '.join(known)}, not {value!r}")
        if num_classes < 1 or dim < 2 or samples < 1:
            raise UserError(
                "ProbabilisticProxies needs at least 1 class, 2 dimensions and 1 sample, "
                f"not {num_classes}, {dim} and {samples}"
            )
        if not (concentration > 0 and temperature > 0):
            raise UserError(f"concentration and temperature must be positive, not {concentration} and {temperature}")
        if sampler == "released" and gradient == "implicit":
            raise UserError("ProbabilisticProxies: with sampler released, gradient is pathwise or none, not implicit")
        if similarity == "kl_vmf" and normaliser != "exact":
            raise UserError(f"ProbabilisticProxies: kl_vmf is exact; normaliser {normaliser} goes with kl_vmf_released")
        self.similarity, self.samples, self.density = similarity, samples, density
        self.tempering, self.gradient, self.sampler, self.normaliser = tempering, gradient, sampler, normaliser
        self.directions = nn.Parameter(F.normalize(torch.randn(num_classes, dim), dim=1))
        self.log_kappas: nn.Parameter | None = None
        if similarity != "cosine":
            width = dim if similarity in PER_DIMENSION else 1
            self.log_kappas = nn.Parameter(torch.full((num_classes, width), math.log(concentration)))
        log_temperature = torch.tensor(math.log(temperature))
        if learnable_temperature:
            self.log_temperature = nn.Parameter(log_temperature)
        else:
            self.register_buffer("log_temperature", log_temperature)

    @property
    def means(self) -> Tensor:
        """(C, D), the directions, of unit length."""
        return F.normalize(self.directions, dim=1)

    @torch.no_grad()
    def start(self, embeddings: Tensor, labels: Tensor) -> None:
        """Puts the directions onto the class means of embeddings (n, D), labels (n,); a class without any keeps its own."""
        check_range(labels, len(self.directions))
        sums = torch.zeros_like(self.directions).index_add_(0, labels, embeddings.to(self.directions))
        there = torch.bincount(labels, minlength=len(sums)) > 0
        self.directions[there] = F.normalize(sums[there], dim=1)

    def forward(self, embeddings: Tensor, classes: Tensor | None = None) -> Tensor:
        """Similarities (B, C), or (B, c) to the proxies of some `classes` (c,)."""
        if embeddings.dim() != 2 or embeddings.shape[1] != self.directions.shape[1]:
            raise ValueError(
                f"proxies of {self.directions.shape[1]} dimensions take embeddings (B, D), not {tuple(embeddings.shape)}"
            )
        with torch.autocast(embeddings.device.type, enabled=False):
            dtype = torch.promote_types(torch.promote_types(embeddings.dtype, self.directions.dtype), torch.float32)
            means, kappas = self.means.to(dtype), None
            if self.log_kappas is not None:
                kappas = self.log_kappas.to(dtype).exp()  # (C, D) or (C, 1)
            if classes is not None:
                means, kappas = means[classes], None if kappas is None else kappas[classes]
            return self._similarities(embeddings.to(dtype), means, kappas, self.log_temperature.to(dtype).exp())

    def _similarities(self, embeddings: Tensor, means: Tensor, kappas: Tensor | None, temperature: Tensor) -> Tensor:
        norm = embeddings.norm(dim=1).clamp_min(_LEAST)  # (B,)
        mean, name = embeddings / norm[:, None], self.similarity
        if kappas is None:
            return mean @ means.T / temperature
        if name == "l2":
            return -squared_distances(embeddings, (kappas * means)[:, None]).squeeze(-1) / temperature
        if name == "nivmf":
            log_density = nivmf_log_density(
                mean, means, kappas, density=self.density, normaliser=self.normaliser, relative=True
            )
            return log_density / temperature
        if name == "el_nivmf_closed":
            return expected_likelihood_released(
                mean, norm, means, kappas, temperature=temperature, normaliser=self.normaliser, relative=True
            )
        if name == "el_nivmf":
            return expected_likelihood(
                mean,
                norm,
                means,
                kappas,
                temperature=temperature,
                samples=self.samples,
                density=self.density,
                normaliser=self.normaliser,
                tempering=self.tempering,
                gradient=self.gradient,
                sampler=self.sampler,
                relative=True,
            )
        kappa1, kappa2, cosine = norm[:, None], kappas[:, 0], mean @ means.T
        if name == "kl_vmf":
            return -kl_divergence(kappa1, kappa2, cosine, means.shape[1]) / temperature
        log_c = functools.partial(normaliser_ratio, name=self.normaliser)
        if name == "kl_vmf_released":
            return (-log_c(kappa2, means.shape[1]) - kappa2 * cosine) / temperature
        rho = 1.0 if name == "el_vmf" else 0.5
        return log_probability_product_ratio(kappa1, kappa2, cosine, means.shape[1], rho, log_c) / temperature

    def extra_repr(self) -> str:
        return "classes={}, dim={}, similarity={}".format(*self.directions.shape, self.similarity)


def proxy_anchor_loss(cosines: Tensor, labels: Tensor, margin: float = 0.1, alpha: float = 32.0) -> Tensor:
    """Proxy Anchor (S. Kim, D. Kim, M. Cho, S. Kwak, CVPR 2020, eq. 4): the guidance of the nivMF proxies' directions.

        `1/|P+| sum_{p in P+} log(1 + sum_{x: y = p} exp(-alpha (cos(x, p) - margin)))
         + 1/C sum_p log(1 + sum_{x: y != p} exp(alpha (cos(x, p) + margin)))`

    P+ are the classes of the batch.

    Args:
        cosines: (B, C). labels: (B,), 0..C-1.

    Returns:
        A scalar, 0 for an empty batch.
    """
    check_range(labels, cosines.shape[1])
    label_mask = F.one_hot(labels, cosines.shape[1]).bool()  # (B, C)
    if not len(labels):
        return cosines.sum()
    positive = _log_one_plus((-alpha * (cosines - margin)).masked_fill(~label_mask, -torch.inf))
    negative = _log_one_plus((alpha * (cosines + margin)).masked_fill(label_mask, -torch.inf))
    return positive.sum() / label_mask.any(0).sum() + negative.mean()


def binomial_deviance(
    similarities: Tensor, labels: Tensor, alpha: float = 1.0, delta: float = 0.0, over: str = "images"
) -> Tensor:
    """What the nivMF repository can have in the place of the cross-entropy (`bindev`): log-sums of right and of wrong pairs.

        `mean log(1 + sum_same exp(-alpha (sim - delta))) + mean log(1 + sum_different exp(alpha (sim - delta)))`

    Unlike a softmax it sees terms that all classes share; `ProbabilisticProxies` leaves them out.

    Args:
        similarities: (B, C). labels: (B,), 0..C-1.
        over: "images": sums over the batch, means over the classes; "classes": sums over the classes, a mean over the batch.

    Returns:
        A scalar, 0 for an empty batch.

    Raises:
        ValueError: another `over`.
    """
    if over not in DEVIANCE_OVER:
        raise UserError(f"binomial_deviance sums over {' or '.join(DEVIANCE_OVER)}, not {over!r}")
    check_range(labels, similarities.shape[1])
    label_mask = F.one_hot(labels, similarities.shape[1]).bool()  # (B, C)
    if not len(labels):
        return similarities.sum()
    scaled = alpha * (similarities - delta)
    right, wrong = (-scaled).masked_fill(~label_mask, -torch.inf), scaled.masked_fill(label_mask, -torch.inf)  # (B, C)
    if over == "classes":
        right, wrong = right.T, wrong.T
    return _log_one_plus(right).mean() + _log_one_plus(wrong).mean()


def _log_one_plus(exponents: Tensor) -> Tensor:
    """`log(1 + sum_b exp(x_bc))`, (B, C) -> (C,)."""
    return torch.cat([exponents.new_zeros(1, exponents.shape[1]), exponents]).logsumexp(0)
