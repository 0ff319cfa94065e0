"""Hyperspherical loss and separation against loops and known optima."""

import math

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.losses.hyperspherical import HypersphericalLoss, hyperspherical_scores, separation_loss


def made() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.randn(9, 4, dtype=torch.double, requires_grad=True),
        torch.randn(5, 4, dtype=torch.double),
        torch.tensor([0, 4, 2, 2, 1, 3, 0, 0, 1]),
    )


def test_the_loss_is_a_sum_of_squares():
    z, P, y = made()
    cos = F.cosine_similarity(z[:, None], P, dim=-1)
    scores = hyperspherical_scores(z, P)
    torch.testing.assert_close(scores, -((1 - cos) ** 2))
    squares = (1 - cos[torch.arange(9), y]) ** 2
    torch.testing.assert_close(HypersphericalLoss(reduction="sum")(scores, y), squares.sum())
    torch.testing.assert_close(HypersphericalLoss()(scores, y), squares.mean())
    weights = torch.rand(5, dtype=torch.double)
    ours = HypersphericalLoss(class_weights=weights, ignore_index=2)(scores, y)
    kept = y != 2
    torch.testing.assert_close(ours, (weights[y] * squares)[kept].sum() / weights[y][kept].sum())
    total = HypersphericalLoss("sum", weights)(scores, y)
    torch.testing.assert_close(total, (weights[y] * squares).sum())


def test_a_step_down_the_gradient_raises_the_cosine():
    z, P, y = made()
    HypersphericalLoss()(hyperspherical_scores(z, P), y).backward()
    after = z.detach() - 0.01 * z.grad
    before = F.cosine_similarity(z.detach(), P[y])
    assert (F.cosine_similarity(after, P[y]) > before).all()


def test_gradcheck_and_pixels():
    z, P, y = made()
    assert torch.autograd.gradcheck(lambda z: HypersphericalLoss()(hyperspherical_scores(z, P), y), z)
    dense = z.detach().T.reshape(1, 4, 3, 3)
    scores = hyperspherical_scores(dense, P)
    assert scores.shape == (1, 5, 3, 3)
    torch.testing.assert_close(scores[0].flatten(1).T, hyperspherical_scores(z.detach(), P))
    flat = HypersphericalLoss()(hyperspherical_scores(z.detach(), P), y)
    torch.testing.assert_close(HypersphericalLoss()(scores, y.reshape(1, 3, 3)), flat)


def test_separation_of_known_figures():
    simplex = torch.eye(5) - 1 / 5
    assert separation_loss(simplex).item() == pytest.approx(-1 / 4)
    assert separation_loss(torch.tensor([[1.0, 2.0], [-2.0, -4.0]])).item() == pytest.approx(-1)
    angles = torch.arange(7) * 2 * math.pi / 7
    assert separation_loss(torch.stack([angles.cos(), angles.sin()], 1)).item() == pytest.approx(math.cos(2 * math.pi / 7))
    P = torch.randn(6, 3)
    unit = F.normalize(P, dim=1)
    nearest = [max((unit[i] @ unit[j]).item() for j in range(6) if j != i) for i in range(6)]
    assert separation_loss(P).item() == pytest.approx(sum(nearest) / 6)


def test_bad_input():
    with pytest.raises(ValueError, match="mean or sum, not 'none'"):
        HypersphericalLoss("none")
    with pytest.raises(ValueError, match=r"labels must lie in 0..4, not 0..5"):
        HypersphericalLoss()(torch.zeros(2, 5), torch.tensor([0, 5]))
    with pytest.raises(ValueError, match=r"\(2, 5\) with \(3,\)"):
        HypersphericalLoss()(torch.zeros(2, 5), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="K at least 2"):
        separation_loss(torch.ones(1, 3))
