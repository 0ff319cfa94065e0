"""Densities on the sphere against quadrature, importance sampling and vMF; expected likelihoods against closed forms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.nivmf import DENSITIES, expected_likelihood, expected_likelihood_released, nivmf_log_density
from repmet.model_definitions.vmf import log_density, log_normaliser, log_normaliser_at_zero, log_probability_product
from repmet.model_definitions.vmf_sampling import sample_vmf


def classes(number: int, dim: int, spread: float = 0.6, scale: float = 8.0) -> tuple[torch.Tensor, torch.Tensor]:
    means = F.normalize(torch.randn(number, dim, dtype=torch.float64), dim=1)
    return means, scale * (spread * torch.randn(number, dim, dtype=torch.float64)).exp()


def naive(z, mean, kappa, density):
    """One point, one class, as the equations stand."""
    dim, K = len(z), torch.diag(kappa)
    m = K @ mean
    n = m.norm()
    cosine = F.cosine_similarity(z if density == "released" else K @ z, m, dim=0)
    value = log_normaliser(n, dim) + n * cosine + kappa.log().sum()
    return value - (dim * (K @ z).norm().log() if density == "exact" else n.log())


@pytest.mark.parametrize("density", DENSITIES)
def test_the_two_products_are_the_equation(density):
    torch.manual_seed(0)
    means, kappas = classes(5, 12)
    z = F.normalize(torch.randn(7, 12, dtype=torch.float64), dim=1)
    expected = torch.stack([torch.stack([naive(x, m, k, density) for m, k in zip(means, kappas, strict=True)]) for x in z])
    computed = nivmf_log_density(z, means, kappas, density)
    torch.testing.assert_close(computed, expected, rtol=0, atol=1e-10)
    relative = nivmf_log_density(z, means, kappas, density, relative=True)
    torch.testing.assert_close((computed - relative).std(1), torch.zeros(7).double(), atol=1e-10, rtol=0)
    single = nivmf_log_density(z.float(), means.float(), kappas.float(), density, relative=True)
    torch.testing.assert_close(single, relative.float(), rtol=1e-6, atol=2e-5)


def sphere(points: int = 601) -> tuple[torch.Tensor, np.ndarray]:
    """Gauss-Legendre nodes along one axis times equal angles around it, with their weights."""
    x, weights = np.polynomial.legendre.leggauss(points)
    angle = np.arange(points) * 2 * np.pi / points
    across = np.sqrt(1 - x * x)[:, None]
    z = np.stack([across * np.cos(angle), across * np.sin(angle), np.broadcast_to(x[:, None], (points, points))], -1)
    return torch.from_numpy(z.reshape(-1, 3)), np.repeat(weights, points) * 2 * np.pi / points


def test_the_exact_density_integrates_to_one_on_the_sphere():
    z, weights = sphere()
    means = F.normalize(torch.tensor([[1.0, 1, 1], [0.2, -1, 0.5], [0, 0, 1]], dtype=torch.float64), dim=1)
    kappas = torch.tensor([[5.0, 20, 10], [3, 4, 12], [10, 10, 10]], dtype=torch.float64)
    integrals = {
        name: [(weights * nivmf_log_density(z, means, kappas, name)[:, c].exp().numpy()).sum() for c in range(3)]
        for name in DENSITIES
    }
    assert integrals["exact"] == pytest.approx([1, 1, 1], abs=1e-8)
    # the others are off by the factors that they are known for: kappa^(D-1) where K = kappa I
    assert integrals["paper"][2] == pytest.approx(100, rel=1e-6) and integrals["paper"][0] == pytest.approx(170, abs=1)
    bias = kappas.log().sum(1).exp() / (kappas * means).norm(dim=1)
    assert integrals["released"] == pytest.approx(bias.tolist(), rel=1e-6)


def test_the_exact_density_integrates_to_one_in_eight_dimensions():
    torch.manual_seed(1)
    means, kappas = classes(3, 8, spread=0.4, scale=5.0)
    z = F.normalize(torch.randn(100_000, 8, dtype=torch.float64), dim=1)
    weights = (nivmf_log_density(z, means, kappas) - log_normaliser_at_zero(8)).exp()
    error = weights.std(0) / math.sqrt(len(z))
    assert ((weights.mean(0) - 1).abs() < 4 * error).all() and (error < 0.05).all()


def test_equal_concentrations_are_a_vmf():
    torch.manual_seed(2)
    means, _ = classes(4, 16)
    kappas = torch.tensor([2.0, 30, 7, 11]).double()[:, None].expand(4, 16)
    z = F.normalize(torch.randn(9, 16, dtype=torch.float64), dim=1)
    expected = log_density(z @ means.T, kappas[:, 0], 16)
    torch.testing.assert_close(nivmf_log_density(z, means, kappas), expected, rtol=0, atol=1e-10)


def test_axes_may_be_permuted_and_mirrored():
    torch.manual_seed(3)
    means, kappas = classes(3, 10)
    z = F.normalize(torch.randn(4, 10, dtype=torch.float64), dim=1)
    order, sign = torch.randperm(10), torch.randint(0, 2, (10,)) * 2.0 - 1
    for density in DENSITIES:
        moved = nivmf_log_density(z[:, order] * sign, means[:, order] * sign, kappas[:, order], density)
        torch.testing.assert_close(moved, nivmf_log_density(z, means, kappas, density))


def test_samples_converge_to_the_product_of_two_vmf():
    torch.manual_seed(4)
    means, _ = classes(3, 8)
    kappas = torch.tensor([4.0, 9, 12]).double()[:, None].expand(3, 8)
    mean, kappa = F.normalize(means[:2] + 0.3 * torch.randn(2, 8), dim=1), torch.tensor([6.0, 15]).double()
    estimate = expected_likelihood(mean, kappa, means, kappas, samples=60_000)
    expected = log_probability_product(kappa[:, None], kappas[:, 0], mean @ means.T, 8)
    torch.testing.assert_close(estimate, expected, rtol=0, atol=0.08)


@pytest.mark.parametrize("temperature", (1.0, 0.5))
def test_samples_of_the_released_density_converge_to_its_closed_form(temperature):
    torch.manual_seed(5)
    means, kappas = classes(3, 8, spread=0.3, scale=3.0)
    mean, kappa = F.normalize(means[:2] + 0.3 * torch.randn(2, 8), dim=1), torch.tensor([6.0, 15]).double()
    options = {"temperature": temperature}
    closed = expected_likelihood_released(mean, kappa, means, kappas, **options)
    estimate = expected_likelihood(mean, kappa, means, kappas, samples=60_000, density="released", **options)
    torch.testing.assert_close(estimate, closed, rtol=0, atol=0.08)
    relative = expected_likelihood_released(mean, kappa, means, kappas, relative=True, **options)
    torch.testing.assert_close((closed - relative).std(1), torch.zeros(2).double(), atol=1e-9, rtol=0)


def test_the_released_normaliser_sampler_and_density_together():
    torch.manual_seed(10)
    means, kappas = classes(3, 128, spread=0.2, scale=30.0)
    mean, kappa = F.normalize(means[:2] + 0.02 * torch.randn(2, 128), dim=1), torch.tensor([12.0, 50]).double()
    n = (kappas * means).norm(dim=1)
    value = nivmf_log_density(means, means, kappas, "released", normaliser="released")
    bias = 127 - 0.01909 * n - 0.003355 * n.square() + kappas.log().sum(1) - n.log()
    torch.testing.assert_close(value, bias + means @ (kappas * means).T)
    options = {"temperature": 30.0, "density": "released", "normaliser": "released"}
    closed = expected_likelihood_released(mean, kappa, means, kappas, temperature=30.0, normaliser="released")
    right = expected_likelihood(mean, kappa, means, kappas, samples=20_000, **options)
    torch.testing.assert_close(right, closed, rtol=0, atol=0.02)
    wrong = expected_likelihood(mean, kappa, means, kappas, samples=20_000, sampler="released", gradient="none", **options)
    assert (wrong - closed)[0].abs().max() > 0.3  # kappa 12: the samples lie on the other side


def test_tempering_inside_and_outside():
    torch.manual_seed(6)
    means, kappas = classes(4, 8)
    mean, kappa = means[:2], torch.tensor([6.0, 15]).double()
    torch.manual_seed(7)
    z = sample_vmf(mean, kappa, 5)
    rho = nivmf_log_density(z.flatten(0, 1), means, kappas).view(5, 2, 4).exp()
    for tempering, expected in (
        ("inside", rho.pow(1 / 0.7).mean(0).log()),
        ("outside", rho.mean(0).log() / 0.7),
    ):
        torch.manual_seed(7)
        estimate = expected_likelihood(mean, kappa, means, kappas, temperature=0.7, tempering=tempering)
        torch.testing.assert_close(estimate, expected)


def test_a_small_temperature_stays_finite_with_gradients():
    torch.manual_seed(8)
    means, kappas = (x.float().requires_grad_() for x in classes(6, 128, scale=20.0))
    mean, kappa = F.normalize(torch.randn(4, 128), dim=1), torch.full((4,), 30.0, requires_grad=True)
    for density in DENSITIES:
        value = expected_likelihood(mean, kappa, means, kappas, temperature=0.003, density=density, relative=True)
        grads = torch.autograd.grad(value.log_softmax(1)[:, 0].sum(), (means, kappas, kappa))
        assert value.isfinite().all() and all(g.isfinite().all() and g.abs().max() > 0 for g in grads)


def test_gradients():
    torch.manual_seed(9)
    means, kappas = classes(2, 3)
    z = F.normalize(torch.randn(2, 3, dtype=torch.float64), dim=1)
    for density in DENSITIES:
        inputs = [x.clone().requires_grad_() for x in (z, means, kappas)]
        assert torch.autograd.gradcheck(lambda *x, d=density: nivmf_log_density(*x, d), inputs)
    inputs = [x.clone().requires_grad_() for x in (z, torch.tensor([4.0, 9.0]).double(), means, kappas)]
    assert torch.autograd.gradcheck(lambda *x: expected_likelihood_released(*x, temperature=0.3), inputs)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"means \(C, D\).*not \(2, 4\), \(3, 5\) and \(3, 5\)"):
        nivmf_log_density(torch.ones(2, 4), torch.ones(3, 5), torch.ones(3, 5))
    with pytest.raises(ValueError, match="exact, paper, released, not 'url'"):
        nivmf_log_density(torch.ones(2, 5), torch.ones(3, 5), torch.ones(3, 5), "url")
    with pytest.raises(ValueError, match="inside or outside, not 'none'"):
        expected_likelihood(torch.ones(2, 5), torch.ones(2), torch.ones(3, 5), torch.ones(3, 5), tempering="none")
