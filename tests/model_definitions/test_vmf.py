"""The von Mises-Fisher distribution against mpmath, scipy, torch's VonMises, closed forms, quadrature and Monte Carlo."""

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F

from repmet.model_definitions.vmf import (
    entropy,
    kl_divergence,
    log_density,
    log_normaliser,
    log_normaliser_at_zero,
    log_normaliser_ratio,
    log_probability_product,
    mean_resultant_length,
    variance_of_cosine,
)
from repmet.model_definitions.vmf_sampling import sample_vmf

mpmath.mp.dps = 40
DIMS = (2, 3, 5, 8, 16, 32, 51, 64, 128, 512, 2048)
KAPPAS = (1e-3, 0.1, 1.0, 12.0, 50.0, 400.0, 5000.0)


def exact(dim: int, kappa: float) -> tuple[float, float, float]:
    """log C, A and A' with 40 digits."""
    k, nu = mpmath.mpf(kappa), mpmath.mpf(dim) / 2 - 1
    value, above = mpmath.besseli(nu, k), mpmath.besseli(nu + 1, k)
    log_c = nu * mpmath.log(k) - mpmath.mpf(dim) / 2 * mpmath.log(2 * mpmath.pi) - mpmath.log(value)
    length = above / value
    return float(log_c), float(length), float(1 - length**2 - (dim - 1) * length / k)


@pytest.mark.parametrize("dim", DIMS)
def test_normaliser_and_mean_length_against_mpmath(dim):
    kappa = torch.tensor(KAPPAS, dtype=torch.float64)
    log_c, length, variance = (
        torch.tensor(v, dtype=torch.float64) for v in zip(*(exact(dim, k) for k in KAPPAS), strict=True)
    )
    torch.testing.assert_close(log_normaliser(kappa, dim), log_c, rtol=0, atol=3e-9)
    torch.testing.assert_close(mean_resultant_length(kappa, dim), length, rtol=1e-8, atol=0)
    torch.testing.assert_close(variance_of_cosine(kappa, dim), variance, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("dim", DIMS)
def test_single_precision_keeps_value_and_slope(dim):
    kappa = torch.tensor(KAPPAS, requires_grad=True)
    ratio = log_normaliser_ratio(kappa, dim)
    assert ratio.dtype == torch.float32
    (slope,) = torch.autograd.grad(ratio.sum(), kappa, create_graph=True)
    (curvature,) = torch.autograd.grad(-slope.sum(), kappa)
    expected = [exact(dim, float(k)) for k in kappa.detach()]
    log_c, length, variance = (torch.tensor(v, dtype=torch.float64) for v in zip(*expected, strict=True))
    torch.testing.assert_close(slope.double(), -length, rtol=3e-7, atol=0)
    torch.testing.assert_close(curvature.double(), variance, rtol=1e-5, atol=0)
    torch.testing.assert_close(ratio.double(), log_c - log_normaliser_at_zero(dim), rtol=2e-7, atol=3e-9)
    assert ((slope > -1) & (slope < 0)).all()


def test_against_scipy_where_it_does_not_underflow():
    for dim, kappa in ((3, 5.0), (8, 0.5), (64, 30.0), (512, 40.0)):
        nu = dim / 2 - 1
        log_bessel = math.log(scipy.special.ive(nu, kappa)) + kappa
        expected = nu * math.log(kappa) - dim / 2 * math.log(2 * math.pi) - log_bessel
        assert log_normaliser(torch.tensor(kappa, dtype=torch.float64), dim).item() == pytest.approx(expected, abs=1e-8)
        mean = np.eye(dim)[0]
        point = np.ones(dim) / math.sqrt(dim)
        theirs = scipy.stats.vonmises_fisher(mean, kappa).logpdf(point)
        ours = log_density(torch.tensor(mean @ point), torch.tensor(kappa, dtype=torch.float64), dim)
        assert ours.item() == pytest.approx(float(theirs), abs=1e-8)


def test_two_and_three_dimensions_are_the_known_ones():
    kappa = torch.tensor([0.01, 0.7, 4.0, 30.0], dtype=torch.float64)
    angle = torch.tensor(0.9, dtype=torch.float64)
    circle = torch.distributions.VonMises(torch.zeros_like(kappa), kappa).log_prob(angle)
    torch.testing.assert_close(log_density(angle.cos(), kappa, 2), circle, rtol=0, atol=1e-6)  # its I_0 is approximate
    sphere = kappa.log() - math.log(4 * math.pi) - kappa.sinh().log()
    torch.testing.assert_close(log_normaliser(kappa, 3), sphere, rtol=0, atol=3e-9)
    torch.testing.assert_close(mean_resultant_length(kappa, 3), 1 / kappa.tanh() - 1 / kappa)


@pytest.mark.parametrize("dim", (2, 3, 512))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_the_limits_at_infinity(dim, dtype):
    kappa = torch.tensor([1e30, torch.inf], dtype=dtype, requires_grad=True)
    value = log_normaliser(kappa, dim)
    assert value[1] == -torch.inf and value[0].item() == pytest.approx(-1e30)
    (slope,) = torch.autograd.grad(value, kappa, torch.ones_like(value))
    assert slope.tolist() == [-1, -1] and mean_resultant_length(kappa, dim).tolist() == [1, 1]
    huge = torch.tensor([1e200], dtype=torch.float64)
    assert log_normaliser(huge, dim).item() == pytest.approx(-1e200)


@pytest.mark.parametrize("dim", (2, 3, 16, 64, 512))
def test_gradients(dim):
    kappa = torch.tensor([0.0, 0.5, 3.0, 40.0, 700.0], dtype=torch.float64, requires_grad=True)
    away = kappa.detach()[1:].requires_grad_()
    assert torch.autograd.gradcheck(lambda k: log_normaliser(k, dim), away)
    assert torch.autograd.gradgradcheck(lambda k: log_normaliser(k, dim), away)
    assert torch.autograd.gradgradcheck(lambda k: mean_resultant_length(k, dim), away, atol=1e-4)
    length = mean_resultant_length(kappa, dim)
    (slope,) = torch.autograd.grad(length.sum(), kappa)
    assert length[0] == 0 and slope[0].item() == pytest.approx(1 / dim, rel=1e-6)
    assert log_normaliser_ratio(kappa, dim)[0] == 0


def test_entropy_falls_and_is_the_mean_of_the_log_density():
    kappa = torch.tensor([0.0, 1.0, 10.0, 100.0], dtype=torch.float64)
    for dim in (3, 64):
        values = entropy(kappa, dim)
        assert values[0].item() == pytest.approx(-log_normaliser_at_zero(dim)) and (values.diff() < 0).all()
    x = np.linspace(-1, 1, 200_001)
    density = np.exp(log_density(torch.from_numpy(x), torch.tensor(10.0, dtype=torch.float64), 3).numpy())
    integral = scipy.integrate.trapezoid(-2 * math.pi * density * np.log(density), x)  # of rings around the mean
    assert values[2].item() != integral and entropy(kappa, 3)[2].item() == pytest.approx(integral, rel=1e-6)


def test_divergence():
    k1, k2 = torch.tensor([3.0, 20.0, 20.0]).double(), torch.tensor([3.0, 20.0, 5.0]).double()
    assert kl_divergence(k1, k2, torch.ones(3).double(), 8)[:2].abs().max() < 1e-12
    cosine = torch.rand(50).double() * 2 - 1
    k1, k2 = torch.rand(50).double() * 60, torch.rand(50).double() * 60
    assert (kl_divergence(k1, k2, cosine, 16) > 0).all()
    torch.manual_seed(0)
    mean = F.normalize(torch.randn(2, 8, dtype=torch.float64), dim=-1)
    z = sample_vmf(mean[0], torch.tensor(12.0, dtype=torch.float64), 40_000)
    log_ratio = log_density(z @ mean[0], torch.tensor(12.0).double(), 8) - log_density(
        z @ mean[1], torch.tensor(7.0).double(), 8
    )
    expected = kl_divergence(torch.tensor(12.0).double(), torch.tensor(7.0).double(), mean[0] @ mean[1], 8)
    assert abs(log_ratio.mean() - expected) < 4 * log_ratio.std() / 200


def test_probability_products():
    torch.manual_seed(1)
    kappa = torch.rand(40).double() * 80
    cosine = torch.rand(40).double() * 2 - 1
    other = torch.rand(40).double() * 80
    for dim in (3, 32, 512):
        same = log_probability_product(kappa, kappa, torch.ones(40).double(), dim, rho=0.5)
        assert same.abs().max() < 1e-9
        assert (log_probability_product(kappa, other, cosine, dim, rho=0.5) < 0).all()
        forth, back = (log_probability_product(*pair, cosine, dim) for pair in ((kappa, other), (other, kappa)))
        torch.testing.assert_close(forth, back)
    # quadrature over the sphere of three dimensions
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 801), np.linspace(0, 2 * np.pi, 801), indexing="ij")
    z = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    for rho in (0.5, 1.0):
        p = [
            log_density(torch.from_numpy(z @ m), torch.tensor(k).double(), 3).numpy()
            for m, k in ((z[200, 100], 9.0), (z[300, 300], 4.0))
        ]
        inner = scipy.integrate.trapezoid(np.exp(rho * (p[0] + p[1])) * np.sin(theta), phi[0], axis=1)
        integral = scipy.integrate.trapezoid(inner, theta[:, 0])
        c = torch.tensor(float(z[200, 100] @ z[300, 300])).double()
        ours = log_probability_product(torch.tensor(9.0).double(), torch.tensor(4.0).double(), c, 3, rho)
        assert ours.item() == pytest.approx(math.log(integral), abs=1e-4)


def test_product_of_opposite_distributions_has_a_gradient():
    kappa = torch.tensor(30.0, requires_grad=True)
    value = log_probability_product(kappa, torch.tensor(30.0), torch.tensor(-1.0), 64)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(kappa.grad)


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 2 dimensions, not 1"):
        log_normaliser(torch.ones(1), 1)
    with pytest.raises(ValueError, match=r"rho .* must be positive, not 0"):
        log_probability_product(torch.ones(1), torch.ones(1), torch.ones(1), 8, rho=0)
