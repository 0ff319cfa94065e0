"""Soft labels against torch's divergence and their limits; squared EMD against a loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.hierarchy import Hierarchy
from repmet.model_definitions.losses.hierarchical import HierarchicalCrossEntropy
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


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.5, 2.0])
def test_a_sure_and_right_answer_has_a_finite_loss_and_slope(gamma):
    """Rounding brings p to 1, where a fractional power of 1 - p has an infinite slope or is none."""
    costs = 1 - torch.eye(3)
    tree = Hierarchy({"a": "x", "b": "x", "x": "r", "c": "r"}, ["a", "b", "c"])
    for loss in (SoftLabelLoss(costs, 5.0, focal_gamma=gamma), HierarchicalCrossEntropy(tree, 0.3, focal_gamma=gamma)):
        logits = torch.tensor([[80.0, 0.0, -3.0], [1e-4, 0.0, 0.0], [200.0, -200.0, 0.0]], requires_grad=True)
        value = loss(logits, torch.tensor([0, 0, 0]))
        value.backward()
        assert value.isfinite() and value >= 0 and logits.grad.isfinite().all()


def test_the_hierarchical_loss_by_a_loop_in_double_precision_and_without_ignored_rows():
    parents = {"a": "x", "b": "x", "x": "r", "c": "r"}
    torch.set_default_dtype(torch.float64)
    try:
        loss = HierarchicalCrossEntropy(Hierarchy(parents, ["a", "b", "c"]), alpha=0.4, ignore_index=255)
    finally:
        torch.set_default_dtype(torch.float32)
    logits, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 255, 2, 1])
    p = logits.softmax(1)
    p_x, heights = p[:, 0] + p[:, 1], {"leaf": 0, "x": 1}
    expected = []
    for row, label in enumerate(labels.tolist()):
        if label == 2:  # straight below the root
            expected.append(-math.exp(-0.4 * heights["leaf"]) * math.log(p[row, 2]))
        elif label != 255:
            leaf = math.exp(-0.4 * heights["leaf"]) * math.log(p[row, label] / p_x[row])
            expected.append(-leaf - math.exp(-0.4 * heights["x"]) * math.log(p_x[row]))
    assert loss(logits, labels).item() == pytest.approx(sum(expected) / 3, rel=1e-12)
    with pytest.raises(ValueError, match="the tree has 3 classes, the logits 4"):
        loss(torch.randn(2, 4), torch.tensor([0, 1]))
