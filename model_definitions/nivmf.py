"""The non-isotropic von Mises-Fisher distribution, nivMF, and its expected likelihood under a vMF.

M. Kirchhof, K. Roth, Z. Akata, E. Kasneci, "A non-isotropic probabilistic take on proxy-based deep metric learning", ECCV
2022. A class has a mean direction mu and a concentration for each dimension, K = diag(kappa_1, ..., kappa_D). With
`m = K mu`, `n = |m|` and C_D of `model_definitions.vmf` its log density at z is, by the name of the variant:

    exact     log C(n) + n cos(Kz, Kmu) + sum_d log kappa_d - D log |Kz|
    paper     log C(n) + n cos(Kz, Kmu) + sum_d log kappa_d - log n     as released for points (proxynca_nivmf)
    released  log C(n) + n cos(z, Kmu) + sum_d log kappa_d - log n      as released for distributions (proxyvmf_panc)

The exact one is the density of z where Kz / |Kz| is vMF(Kmu / n, n): the last two terms are the volume element of that map.
It integrates to 1; the others do not, and in the released one z is not scaled by K, so that it is an isotropic vMF plus a
constant of the class. With K = kappa I the exact one is vMF(mu, kappa).

Shapes: P points or B images, C classes, D dimensions. Two matrix products, and no tensor of more than two dimensions.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.vmf import log_normaliser_ratio
from repmet.model_definitions.vmf_normalisers import normaliser_at_zero, normaliser_ratio
from repmet.model_definitions.vmf_sampling import sample_vmf

DENSITIES = ("exact", "paper", "released")
TEMPERING = ("inside", "outside")
_LEAST = 1e-12  # of |Kz|^2, so that a point without a direction has a gradient


def nivmf_log_density(
    points: Tensor,
    means: Tensor,
    kappas: Tensor,
    density: str = "exact",
    *,
    normaliser: str = "exact",
    relative: bool = False,
) -> Tensor:
    """Log densities of points under every class.

    Args:
        points: (P, D), means: (C, D), unit vectors.
        kappas: (C, D), concentrations > 0.
        density: one of `DENSITIES`.
        normaliser: log C by name, see `model_definitions.vmf_normalisers`.
        relative: leave out what all classes have in common (log C(0), the mean over classes of the sum of log kappas). A
            softmax does not see it, and in float32 the rest keeps its last digits.

    Returns:
        (P, C).

    Raises:
        ValueError: shapes that do not fit, an unknown density or normaliser.
    """
    if points.dim() != 2 or means.shape != kappas.shape or points.shape[1:] != means.shape[1:]:
        raise ValueError(
            "nivmf_log_density takes points (P, D), means (C, D) and concentrations (C, D), not "
            f"{tuple(points.shape)}, {tuple(means.shape)} and {tuple(kappas.shape)}"
        )
    bias, length = class_terms(means, kappas, density, normaliser, relative)  # (C,)
    if density == "released":
        return bias + points @ (kappas * means).T
    # K up to a factor: its geometric mean cancels in the cosine, and makes the sum of logs 0
    scale = (kappas.log() - kappas.log().mean(1, keepdim=True)).exp()
    square = (points.square() @ scale.square().T).clamp_min(_LEAST)  # (P, C), |Kz|^2
    along = (points @ (scale.square() * means).T) / square.sqrt()
    cosine = along / (scale * means).norm(dim=1)
    value = bias + length * cosine
    return value - means.shape[1] / 2 * square.log() if density == "exact" else value


def class_terms(
    means: Tensor, kappas: Tensor, density: str, normaliser: str = "exact", relative: bool = False
) -> tuple[Tensor, Tensor]:
    """What depends on the class alone: the terms of the log density without z, and n; both (C,).

    Raises:
        ValueError: an unknown density or normaliser.
    """
    if density not in DENSITIES:
        raise UserError(f"the density of a nivMF is {', '.join(DENSITIES)}, not {density!r}")
    length = (kappas * means).norm(dim=1)
    bias = normaliser_ratio(length, means.shape[1], normaliser)
    if density != "exact":
        logs = kappas.log().sum(1)
        bias = bias + (logs - logs.mean().detach() if relative else logs) - length.log()
    return (bias if relative else bias + normaliser_at_zero(means.shape[1], normaliser)), length


def expected_likelihood(
    mean: Tensor,
    kappa: Tensor,
    means: Tensor,
    kappas: Tensor,
    *,
    temperature: Tensor | float = 1.0,
    samples: int = 5,
    density: str = "exact",
    normaliser: str = "exact",
    tempering: str = "inside",
    gradient: str = "implicit",
    sampler: str = "exact",
    relative: bool = False,
) -> Tensor:
    """EL-nivMF: log expected likelihood of classes under the images' vMF distributions, by samples.

    With z_1, ..., z_S of vMF(mean, kappa), shared by all classes, and a temperature t:

        inside   `log 1/S sum_s rho_c(z_s)^(1/t)`, as released
        outside  `1/t log 1/S sum_s rho_c(z_s)`, as in the paper's figure

    Args:
        mean: (B, D), kappa: (B,): of the images. means, kappas: (C, D): of the classes.
        samples: S. gradient, sampler: of them, see `sample_vmf`. density, normaliser, relative: see `nivmf_log_density`.

    Returns:
        (B, C).

    Raises:
        ValueError: also for another tempering.
    """
    if tempering not in TEMPERING:
        raise UserError(f"the temperature stands {' or '.join(TEMPERING)}, not {tempering!r}")
    z = sample_vmf(mean, kappa, samples, gradient, sampler)  # (S, B, D)
    log_density = nivmf_log_density(z.flatten(0, 1), means, kappas, density, normaliser=normaliser, relative=relative)
    log_density = log_density.unflatten(0, z.shape[:2])  # (S, B, C)
    if tempering == "inside":
        return (log_density / temperature).logsumexp(0) - math.log(samples)
    return (log_density.logsumexp(0) - math.log(samples)) / temperature


def expected_likelihood_released(
    mean: Tensor,
    kappa: Tensor,
    means: Tensor,
    kappas: Tensor,
    *,
    temperature: Tensor | float = 1.0,
    normaliser: str = "exact",
    relative: bool = False,
) -> Tensor:
    """`log E[rho_c(z)^(1/t)]` of the "released" density in closed form: what its samples converge to.

    That density is a vMF around m with a constant b = sum log kappa - log n, and so is its power:
    `(log C(n) + b) / t + log C(k1) - log C(|k1 mu1 + m / t|)`. Arguments and shapes as for `expected_likelihood`; the
    `normaliser` is that of the class, the integral's own are exact.
    """
    bias, length = class_terms(means, kappas, "released", normaliser, relative)  # (C,)
    cosine = mean @ F.normalize(kappas * means, dim=1).T  # (B, C)
    sharp = length / temperature
    square = (kappa[:, None] - sharp).square() + 2 * kappa[:, None] * sharp * (1 + cosine)
    joint = square.clamp_min(torch.finfo(square.dtype).tiny).sqrt()
    dim = mean.shape[1]
    return bias / temperature + log_normaliser_ratio(kappa, dim)[:, None] - log_normaliser_ratio(joint, dim)
