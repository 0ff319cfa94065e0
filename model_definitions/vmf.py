"""The von Mises-Fisher distribution: `C_D(k) exp(k mu.z)` on the unit sphere of R^D, for any D >= 2 and k >= 0.

`C_D(k) = k^nu / ((2 pi)^(D/2) I_nu(k))` with `nu = D/2 - 1` (K. Mardia, P. Jupp, "Directional Statistics", 2000, ch. 9).
All is computed in float64 and returned in the type that was given; the derivatives are formulas, not those of the expansion:
`d log C_D / dk = -A_D(k)` and `A_D' = 1 - A_D^2 - (D - 1) A_D / k`, so that gradients hold in float32 too.
`kappa` is a concentration, 1 / (a squared angle): tensors of any shape, which broadcast.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from repmet.errors import UserError

_ORDER = 24.0  # from here on the uniform expansion is within 3e-9 nats, its slope within 1e-8
_TINY = 1e-12  # A_D(k) / k has reached its limit 1 / D
_FAR = 1e100  # log C_D(k) has reached -k, as float64 has it, and A_D(k) 1


def log_normaliser(kappa: Tensor, dim: int) -> Tensor:
    """`log C_D(kappa)`: log of the density at right angles to the mean. Shape and type of `kappa`.

    Within a softmax or another difference take `log_normaliser_ratio`: the constant is large (868 nats at D = 512).

    Raises:
        ValueError: `dim` below 2.
    """
    return log_normaliser_ratio(kappa, dim) + log_normaliser_at_zero(dim)


def log_normaliser_at_zero(dim: int) -> float:
    """`log C_D(0) = lgamma(D/2) - log 2 - (D/2) log pi`, the log density of the uniform distribution."""
    _check_dim(dim)
    return math.lgamma(dim / 2) - math.log(2) - dim / 2 * math.log(math.pi)


def log_normaliser_ratio(kappa: Tensor, dim: int) -> Tensor:
    """`log C_D(kappa) - log C_D(0) = -log 0F1(D/2; kappa^2/4)`, from 0 downwards with a slope between -1 and 0.

    Debye's uniform expansion of I_nu with four terms (NIST DLMF 10.41.3) at an order of at least 24. Lower orders follow
    from there by the recurrence `I_nu / I_{nu+1} = 2 (nu+1)/k + I_{nu+2} / I_{nu+1}`, which loses nothing downwards.

    Raises:
        ValueError: `dim` below 2.
    """
    _check_dim(dim)
    return _LogRatio.apply(kappa, dim)  # type: ignore[no-untyped-call]


def mean_resultant_length(kappa: Tensor, dim: int) -> Tensor:
    """`A_D(kappa) = I_{D/2}(kappa) / I_{D/2-1}(kappa)`, the length of the mean `E[z] = A_D mu`: 0 at 0, towards 1.

    Differentiable twice and more often.

    Raises:
        ValueError: `dim` below 2.
    """
    _check_dim(dim)
    return _MeanLength.apply(kappa, dim)  # type: ignore[no-untyped-call]


def variance_of_cosine(kappa: Tensor, dim: int) -> Tensor:
    """`A_D'(kappa) = 1 - A_D^2 - (D - 1) A_D / kappa`, the variance of `mu.z`, 1/D at kappa = 0."""
    exact = kappa.double().clamp_min(_TINY)
    length = mean_resultant_length(exact, dim)
    return (1 - length.square() - (dim - 1) * length / exact).to(kappa.dtype)


def log_density(cosine: Tensor, kappa: Tensor, dim: int) -> Tensor:
    """`log C_D(kappa) + kappa cos`, the log density of a point at the angle of that cosine to the mean."""
    return log_normaliser(kappa, dim) + kappa * cosine


def entropy(kappa: Tensor, dim: int) -> Tensor:
    """`-log C_D(kappa) - kappa A_D(kappa)` in nats; the uniform distribution has the most."""
    return -log_normaliser(kappa, dim) - kappa * mean_resultant_length(kappa, dim)


def kl_divergence(kappa1: Tensor, kappa2: Tensor, cosine: Tensor, dim: int) -> Tensor:
    """`KL(p1 || p2) = log C(k1) - log C(k2) + A_D(k1) (k1 - k2 cos)`, with the cosine between the means; >= 0."""
    ratio = log_normaliser_ratio(kappa1, dim) - log_normaliser_ratio(kappa2, dim)
    return ratio + mean_resultant_length(kappa1, dim) * (kappa1 - kappa2 * cosine)


def log_probability_product(kappa1: Tensor, kappa2: Tensor, cosine: Tensor, dim: int, rho: float = 1.0) -> Tensor:
    """Probability product kernel (T. Jebara, R. Kondor, A. Howard, JMLR 2004), `log integral p1^rho p2^rho`:

        `rho (log C(k1) + log C(k2)) - log C(rho |k1 mu1 + k2 mu2|)`

    rho = 1 is the expected likelihood, rho = 1/2 the Bhattacharyya coefficient, whose log is 0 for equal distributions and
    else below.

    Args:
        kappa1, kappa2, cosine: of two distributions and between their means; broadcast, as (B, 1), (C,) and (B, C).

    Raises:
        ValueError: rho not above 0.
    """
    return log_probability_product_ratio(kappa1, kappa2, cosine, dim, rho) + (2 * rho - 1) * log_normaliser_at_zero(dim)


def log_probability_product_ratio(
    kappa1: Tensor,
    kappa2: Tensor,
    cosine: Tensor,
    dim: int,
    rho: float = 1.0,
    normaliser: Callable[[Tensor, int], Tensor] | None = None,
) -> Tensor:
    """`log_probability_product` relative to that of two uniform distributions, without its large constant.

    normaliser: another one than `log_normaliser_ratio`.
    """
    log_c = normaliser or log_normaliser_ratio
    if not rho > 0:
        raise UserError(f"the order rho of a probability product kernel must be positive, not {rho}")
    # |k1 mu1 + k2 mu2|^2 without a difference of large terms; log C has no slope at 0, where the root has an infinite one
    square = (kappa1 - kappa2).square() + 2 * kappa1 * kappa2 * (1 + cosine)
    joint = square.clamp_min(torch.finfo(square.dtype).tiny).sqrt()
    return rho * (log_c(kappa1, dim) + log_c(kappa2, dim)) - log_c(rho * joint, dim)


class _LogRatio(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kappa: Tensor, dim: int) -> Tensor:
        log_series, length = _log_series_and_length(kappa.double(), dim)
        ctx.save_for_backward(kappa, length.to(kappa.dtype))
        ctx.dim = dim
        return -log_series.to(kappa.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        kappa, length = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            length = mean_resultant_length(kappa, ctx.dim)
        return -grad * length, None


class _MeanLength(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kappa: Tensor, dim: int) -> Tensor:
        ctx.save_for_backward(kappa)
        ctx.dim = dim
        return _log_series_and_length(kappa.double(), dim)[1].to(kappa.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kappa,) = ctx.saved_tensors
        return grad * variance_of_cosine(kappa, ctx.dim), None


def _log_series_and_length(kappa: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """`log 0F1(nu+1; kappa^2/4)` and `I_{nu+1} / I_nu`, both in float64."""
    nu = dim / 2 - 1
    steps = max(0, math.ceil(_ORDER - nu))
    log_series, ratio = _debye(kappa, nu + steps)
    for order in reversed([nu + j for j in range(steps)]):
        quotient = kappa * ratio / (2 * (order + 1))
        log_series = log_series + quotient.log1p()
        ratio = kappa / (2 * (order + 1)) / (1 + quotient)
    far = kappa > _FAR  # the limits, where the formulas divide infinity by infinity
    return torch.where(far, kappa, log_series), ratio.masked_fill(far, 1.0)


# u_k(t) of the expansion (DLMF 10.41.9), coefficients of t^k, t^(k+2), ..., before the common denominator.
_POLYNOMIALS = (
    ((3, -5), 24),
    ((81, -462, 385), 1152),
    ((30375, -369603, 765765, -425425), 414720),
    ((4465125, -94121676, 349922430, -446185740, 185910725), 39813120),
)


def _debye(kappa: Tensor, nu: float) -> tuple[Tensor, Tensor]:
    """`log 0F1` and the ratio of a large order: logarithm of the expansion relative to kappa = 0, and its derivative."""
    z = kappa / nu
    s = (1 + z * z).sqrt()
    t = 1 / s
    excess = z * z / (1 + s)  # s - 1
    u, slope = _series(t, nu)
    at_zero, _ = _series(torch.ones((), dtype=t.dtype, device=t.device), nu)
    log_series = nu * (excess - (excess / 2).log1p()) - 0.5 * s.log() + (u / at_zero).log()
    # s' = z t / nu and t' = -t^2 s'
    ds = z * t / nu
    return log_series, z / (1 + s) - 0.5 * ds * t - slope * t * t * ds / u


def _series(t: Tensor, nu: float) -> tuple[Tensor, Tensor]:
    """`1 + sum_k u_k(t) / nu^k` and its derivative by t."""
    value, slope, square = torch.ones_like(t), torch.zeros_like(t), t * t
    power = torch.ones_like(t)  # t^(k-1)
    for k, (coefficients, denominator) in enumerate(_POLYNOMIALS, start=1):
        scaled = [coefficient / denominator / nu**k for coefficient in coefficients]
        slope = slope + power * _horner([(k + 2 * j) * c for j, c in enumerate(scaled)], square)
        power = power * t
        value = value + power * _horner(scaled, square)
    return value, slope


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """`c_0 + c_1 x + c_2 x^2 + ...`: powers of tensors take several times as long."""
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _check_dim(dim: int) -> None:
    if dim < 2:
        raise UserError(f"a von Mises-Fisher distribution needs at least 2 dimensions, not {dim}")
