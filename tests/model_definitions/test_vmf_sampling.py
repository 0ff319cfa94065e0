"""Samples against their distribution function, mean and scipy's; their gradients against the derivative of the mean."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
import torch.nn.functional as F

from repmet.model_definitions.vmf import mean_resultant_length, variance_of_cosine
from repmet.model_definitions.vmf_sampling import acceptance_rate, sample_cosines, sample_vmf

N = 8000


def kappas(value: float, n: int = N) -> torch.Tensor:
    return torch.full((n,), value, dtype=torch.float64)


@pytest.mark.parametrize("dim", (2, 3, 8, 64, 128, 512))
@pytest.mark.parametrize("kappa", (0.0, 0.1, 1.0, 10.0, 11.0, 12.0, 50.0, 200.0, 1000.0))
def test_mean_cosine_is_exact(dim, kappa):
    torch.manual_seed(dim)
    w = sample_cosines(kappas(kappa), dim)
    concentration = torch.tensor(kappa, dtype=torch.float64)
    error = math.sqrt(variance_of_cosine(concentration, dim).item() / N)
    assert abs(w.mean() - mean_resultant_length(concentration, dim)) < 4.5 * error
    assert w.abs().max() <= 1


@pytest.mark.parametrize(("dim", "kappa"), ((2, 3.0), (3, 12.0), (8, 11.0), (64, 50.0), (128, 12.0)))
def test_cosines_follow_their_distribution(dim, kappa):
    torch.manual_seed(1)
    w = sample_cosines(kappas(kappa), dim).numpy()
    theta = np.linspace(math.pi, 0, 20_001)
    density = np.exp(kappa * (np.cos(theta) - 1)) * np.sin(theta) ** (dim - 2)
    cdf = scipy.integrate.cumulative_trapezoid(density, -theta, initial=0)
    p = scipy.stats.kstest(w, lambda x: np.interp(x, np.cos(theta), cdf / cdf[-1])).pvalue
    assert p > 1e-3


def test_directions():
    torch.manual_seed(2)
    for mean in (torch.eye(8)[0], -torch.eye(8)[0], F.normalize(torch.arange(8.0) - 3, dim=0)):
        z = sample_vmf(mean.double(), torch.tensor(20.0, dtype=torch.float64), N)
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(N, dtype=torch.float64))
        length = mean_resultant_length(torch.tensor(20.0, dtype=torch.float64), 8)
        assert (z.mean(0) - length * mean).abs().max() < 5 / math.sqrt(8 * N)
        across = z - (z @ mean.double())[:, None] * mean
        covariance = across.T @ across / N  # the same in all directions at right angles to the mean
        expected = (across.square().sum(-1).mean() / 7) * (torch.eye(8) - torch.outer(mean, mean))
        assert (covariance - expected).abs().max() < 0.05 * expected.max()


def test_no_concentration_is_uniform_and_scipy_agrees():
    torch.manual_seed(3)
    z = sample_vmf(torch.eye(5, dtype=torch.float64)[1], torch.tensor(0.0, dtype=torch.float64), N)
    uniform = scipy.stats.uniform_direction(5, seed=0).rvs(N)
    for k in range(5):
        assert scipy.stats.ks_2samp(z[:, k].numpy(), uniform[:, k]).pvalue > 1e-3
    mean = np.ones(6) / math.sqrt(6)
    theirs = scipy.stats.vonmises_fisher(mean, 9, seed=1).rvs(N)
    ours = sample_vmf(torch.from_numpy(mean), torch.tensor(9.0, dtype=torch.float64), N).numpy()
    for direction in (mean, np.eye(6)[0]):
        assert scipy.stats.ks_2samp(ours @ direction, theirs @ direction).pvalue > 1e-3


def test_a_seed_repeats_and_shapes_broadcast():
    mean = F.normalize(torch.randn(4, 3, 16), dim=-1)
    kappa = torch.rand(4, 3) * 100
    torch.manual_seed(5)
    first = sample_vmf(mean, kappa, 7)
    torch.manual_seed(5)
    assert torch.equal(first, sample_vmf(mean, kappa, 7)) and first.shape == (7, 4, 3, 16) and first.dtype == torch.float32


def test_large_concentrations_stay_near_the_mean_in_single_precision():
    torch.manual_seed(6)
    z = sample_vmf(torch.eye(32)[0], torch.tensor(1e7), 500)
    assert torch.isfinite(z).all()
    assert z[:, 1:].square().sum(-1).mean().item() == pytest.approx(31 / 1e7, rel=0.1)  # p / kappa


@pytest.mark.parametrize("dim", (2, 3, 8, 64, 128, 512))
def test_enough_is_accepted(dim):
    torch.manual_seed(7)
    for kappa in (0.0, 1.0, 12.0, 50.0, 1000.0):
        assert acceptance_rate(kappa, dim) > 0.6


@pytest.mark.parametrize(
    ("dim", "kappa"), ((2, 3.0), (3, 12.0), (5, 2.0), (8, 50.0), (64, 20.0), (128, 12.0), (512, 1000.0))
)
def test_implicit_gradients_have_no_bias(dim, kappa):
    torch.manual_seed(dim)
    k = kappas(kappa, 3000).requires_grad_()
    w = sample_cosines(k, dim)
    (slope,) = torch.autograd.grad(w.sum(), k)
    expected = variance_of_cosine(k.detach()[:1], dim)
    assert abs(slope.mean() - expected) < 4.5 * slope.std() / math.sqrt(3000)
    # of a function of w too: d E[w^2] / dk = cov(w^2, w)
    w = w.detach()
    moment = (2 * w * slope).mean()
    covariance = (w**3).mean() - (w**2).mean() * w.mean()
    assert abs(moment - covariance) < 0.15 * abs(covariance) + 1e-6


@pytest.mark.parametrize("dim", (2, 3, 128, 100_000))
def test_the_implicit_gradient_at_no_concentration_is_known(dim):
    """`d/dk exp(k x)` is x there, and `(1 - x^2)^((D-3)/2)` times x has an integral: `dw/dk = (1 - w^2) / (D - 1)`."""
    k = kappas(0.0, 200).requires_grad_()
    w = sample_cosines(k, dim)
    (slope,) = torch.autograd.grad(w.sum(), k)
    torch.testing.assert_close(slope, (1 - w.detach().square()) / (dim - 1), rtol=1e-9, atol=0)


def test_pathwise_gradients_have_the_documented_bias():
    for dim, kappa, ratio in ((5, 2.0, 0.866), (5, 20.0, 0.949), (128, 50.0, 0.995)):
        torch.manual_seed(8)
        k = kappas(kappa, 20_000).requires_grad_()
        (slope,) = torch.autograd.grad(sample_cosines(k, dim, "pathwise").sum(), k)
        bias = slope.mean() / variance_of_cosine(k.detach()[:1], dim)
        assert bias.item() == pytest.approx(ratio, abs=5 * slope.std().item() / 141 / variance_of_cosine(k[:1], dim).item())
    assert not sample_cosines(k, 5, "none").requires_grad


def test_the_gradient_by_the_mean_is_that_at_equal_random_numbers():
    mean = F.normalize(torch.randn(6, dtype=torch.float64), dim=0)

    def project(m: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(9)
        return sample_vmf(m, torch.tensor(5.0, dtype=torch.float64), 3)

    assert torch.autograd.gradcheck(project, mean.requires_grad_())


@pytest.mark.parametrize(
    ("dim", "kappa", "released"),
    ((40, 12, 0.102), (128, 12, -0.449), (128, 50, 0.222), (128, 200, 0.724), (512, 50, -0.437), (512, 1000, 0.773)),
)
def test_the_released_sampler_has_its_known_defect(dim, kappa, released):
    torch.manual_seed(dim + kappa)
    exact = mean_resultant_length(torch.tensor(float(kappa), dtype=torch.float64), dim).item()
    error = 4.5 / math.sqrt(N * dim)
    wrong = sample_cosines(kappas(kappa), dim, "none", "released").mean().item()
    right = sample_cosines(kappas(kappa), dim, "none").mean().item()
    assert wrong == pytest.approx(released, abs=error + 1e-3) and right == pytest.approx(exact, abs=error)
    assert abs(wrong - exact) > (0.1 if kappa < dim else 0.003)


def test_the_released_sampler_is_right_up_to_ten_and_goes_through_its_proposal():
    torch.manual_seed(4)
    first = sample_cosines(kappas(10.0, 500), 64, "none", "released")
    torch.manual_seed(4)
    assert torch.equal(first, sample_cosines(kappas(10.0, 500), 64, "none"))
    k = kappas(50.0, 500).requires_grad_()
    z = sample_vmf(torch.eye(64, dtype=torch.float64)[:1].expand(500, 64), k, 2, "pathwise", "released")
    assert torch.autograd.grad(z[..., 0].sum(), k)[0].min() > 0 and z.shape == (2, 500, 64)
    with pytest.raises(ValueError, match="is pathwise or none, not implicit"):
        sample_cosines(k, 64, "implicit", "released")
    with pytest.raises(ValueError, match="exact or released, not 'wood'"):
        sample_cosines(k, 64, sampler="wood")


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"means \(\.\.\., D\).*not \(3, 4\), \(2,\) and 5"):
        sample_vmf(torch.ones(3, 4), torch.ones(2), 5)
    with pytest.raises(ValueError, match="implicit, pathwise, none, not 'rsample'"):
        sample_cosines(torch.ones(2), 4, "rsample")
    with pytest.raises(ValueError, match="at least 2 dimensions, not 1"):
        sample_cosines(torch.ones(2), 1)


@pytest.mark.parametrize("dim", [2, 3, 128])
@pytest.mark.parametrize("kappa", [0.0, 1e6, 1e12, 1e20])
def test_extreme_concentrations_keep_type_length_and_a_finite_slope(dim, kappa):
    mean = F.normalize(torch.ones(4, dim), dim=-1)
    kappas = torch.full((4,), kappa, requires_grad=True)
    samples = sample_vmf(mean, kappas, 5)
    assert samples.dtype == torch.float32 and samples.shape == (5, 4, dim)
    torch.testing.assert_close(samples.norm(dim=-1), torch.ones(5, 4), rtol=1e-5, atol=0)
    cosines = (samples * mean).sum(-1)
    (slope,) = torch.autograd.grad(cosines.sum(), kappas)
    assert slope.dtype == torch.float32 and slope.isfinite().all()
    if kappa >= 1e6:  # the variance of the cosine falls as 1 / kappa^2
        assert (cosines > 1 - 1e-3).all() and slope.abs().max() < 1e-3


def test_no_sample_is_refused():
    with pytest.raises(ValueError, match="at least 1 sample"):
        sample_vmf(torch.eye(3), torch.ones(3), 0)
