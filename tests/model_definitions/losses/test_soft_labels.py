"""Soft labels against torch's divergence and their limits; squared EMD against a loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.losses.soft_labels import SoftLabelLoss
from repmet.model_definitions.losses.squared_emd import SquaredEMDLoss

K = 6


@pytest.fixture
def made() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    D = torch.rand(K, K, dtype=torch.double) + 0.1
    D = (D + D.T).fill_diagonal_(0)
    return torch.randn(8, K, dtype=torch.double, requires_grad=True), torch.randint(0, K, (8,)), D


@pytest.mark.parametrize("beta", [0.0, 1.0, 10.0])
def test_the_divergence(made, beta):
    z, y, D = made
    q = torch.softmax(-beta * D / D.max(), 1)[y]
    loss = SoftLabelLoss(D, beta)(z, y)
    torch.testing.assert_close(loss, F.kl_div(z.log_softmax(1), q, reduction="batchmean"))
    [ours] = torch.autograd.grad(loss, z)
    [theirs] = torch.autograd.grad(-(q * z.log_softmax(1)).sum(1).mean(), z)
    torch.testing.assert_close(ours, theirs)


def test_limits(made):
    z, y, D = made
    torch.testing.assert_close(SoftLabelLoss(D, 1e5)(z, y), F.cross_entropy(z, y))
    uniform = -math.log(K) - z.log_softmax(1).mean(1)
    torch.testing.assert_close(SoftLabelLoss(D, 0)(z, y), uniform.mean())


def test_focal_and_weights(made):
    z, y, D = made
    q = torch.softmax(-D / D.max(), 1)[y]
    log_p = z.log_softmax(1)
    focal = (q * (q.log() - log_p * (1 - log_p.exp()) ** 2)).sum(1)
    weights = torch.rand(K, dtype=torch.double)
    ours = SoftLabelLoss(D, focal_gamma=2, class_weights=weights)(z, y)
    torch.testing.assert_close(ours, (weights[y] * focal).sum() / weights[y].sum())


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_squared_emd(made, weight):
    z, y, D = made
    p = z.softmax(1)
    moved = sum(p[b, k] ** 2 * (D[y[b], k] - 0.4) for b in range(8) for k in range(K)) / 8
    loss = SquaredEMDLoss(D, weight, 0.4)(z, y)
    torch.testing.assert_close(loss, F.cross_entropy(z, y) + weight * moved)


def test_pixels_and_ignored_ones(made):
    z, y, D = made
    y = y.clone()
    y[3] = 255
    kept = y != 255
    for build in (lambda **k: SoftLabelLoss(D, 2.0, **k), lambda **k: SquaredEMDLoss(D, 0.5, 0.3, **k)):
        expected = build()(z[kept], y[kept])
        dense = z.T.reshape(1, K, 2, 4)
        torch.testing.assert_close(build(ignore_index=255)(dense, y.reshape(1, 2, 4)), expected)
        assert torch.autograd.gradcheck(lambda z, build=build: build(ignore_index=255)(z, y), z)
        assert build(ignore_index=0)(z[:0], y[:0]).item() == 0


def test_bad_input(made):
    z, y, D = made
    with pytest.raises(ValueError, match="beta >= 0 and a positive cost, not -1"):
        SoftLabelLoss(D, -1)
    with pytest.raises(ValueError, match="the largest 0"):
        SoftLabelLoss(torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"labels must lie in 0..5"):
        SoftLabelLoss(D)(z, y + 100)
