"""Distortion against loops, closed forms, grid search and its invariances."""

import numpy as np
import pytest
import torch

from repmet.model_definitions.losses.distortion import (
    DistortionLoss,
    best_scale,
    distortion,
    scale_free_distortion,
    weighted_median,
)
from repmet.model_definitions.prototype_distances import between

PAIRS = 7


def costs(number: int = PAIRS) -> torch.Tensor:
    D = torch.rand(number, number, dtype=torch.double) + 0.2
    return (D + D.T) / 2


def ratios(P: torch.Tensor, D: torch.Tensor, distance: str = "euclidean") -> np.ndarray:
    """d_ij / D_ij over i != j, by loops."""
    P, D = P.detach().numpy(), D.numpy()
    values = []
    for i in range(len(P)):
        for j in range(len(P)):
            if i != j:
                cos = P[i] @ P[j] / np.linalg.norm(P[i]) / np.linalg.norm(P[j])
                values.append((np.linalg.norm(P[i] - P[j]) if distance == "euclidean" else 1 - cos) / D[i, j])
    return np.array(values)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_closed_form(distance):
    P, D = torch.randn(PAIRS, 3, dtype=torch.double), costs()
    a = ratios(P, D, distance)
    loss = DistortionLoss(D=D, distance=distance)(P).item()
    assert loss == pytest.approx(1 - a.sum() ** 2 / (len(a) * (a**2).sum()))
    cv2 = a.var() / a.mean() ** 2
    assert loss == pytest.approx(cv2 / (1 + cv2))
    grid = np.linspace(0.01, 20, 4001)
    assert loss == pytest.approx(min(((s * a - 1) ** 2).mean() for s in grid), abs=1e-3)
    assert DistortionLoss(D, distance, scale_free=False)(P).item() == pytest.approx(((a - 1) ** 2).mean())
    assert distortion(P, D, distance).item() == pytest.approx(np.abs(a - 1).mean())


@pytest.mark.parametrize("scale", [1.0, 0.01, 300.0])
def test_prototypes_that_are_the_costs(scale):
    line = torch.arange(6.0, dtype=torch.double)
    D = (line[:, None] - line).abs()
    P = scale * torch.stack([line, 2 * line], 1)  # a line in the plane
    assert DistortionLoss(D)(P).item() == pytest.approx(0, abs=1e-12)
    assert scale_free_distortion(P, D).item() == pytest.approx(0, abs=1e-6)
    assert DistortionLoss(D, scale_free=False)(P / (scale * 5**0.5)).item() == pytest.approx(0, abs=1e-12)
    assert DistortionLoss(D, scale_free=False)(3 * P / (scale * 5**0.5)).item() == pytest.approx(4)


def test_scale_rotation_and_place_do_not_matter():
    P, D = torch.randn(PAIRS, 3, dtype=torch.double), costs()
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.double))[0]
    criterion = DistortionLoss(D)
    for moved in (17 * P, P @ rotation, P + torch.randn(3), -0.3 * P @ rotation + 100):
        torch.testing.assert_close(criterion(moved), criterion(P))
        torch.testing.assert_close(scale_free_distortion(moved, D), scale_free_distortion(P, D))


def test_the_gradient_of_the_best_scale_is_none():
    P, D = torch.randn(PAIRS, 3, dtype=torch.double, requires_grad=True), costs()
    [ours] = torch.autograd.grad(DistortionLoss(D)(P), P)
    off = ~torch.eye(PAIRS, dtype=torch.bool)
    a = (torch.cdist(P, P) / D)[off]
    [theirs] = torch.autograd.grad((a * (a.sum() / a.square().sum()) - 1).square().mean(), P)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("scale_free", [True, False])
def test_gradcheck(distance, scale_free):
    # scale-free the graph holds s fixed, as it may: a first derivative is right, and so is this check
    P = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(DistortionLoss(costs(5), distance, scale_free), P)


def test_the_scale_free_figure_is_the_least_over_all_scales():
    for _ in range(20):
        P, D = torch.randn(PAIRS, 2, dtype=torch.double), costs()
        a = ratios(P, D)
        # piecewise linear in s: the least is at a corner, 1 / a of some pair
        assert scale_free_distortion(P, D).item() == pytest.approx(min(np.abs(s * a - 1).mean() for s in 1 / a))
        assert scale_free_distortion(P, D) <= distortion(P, D) + 1e-12


def test_the_order_of_classes_does_not_matter():
    P, D = torch.randn(PAIRS, 2, dtype=torch.double), costs()
    order = torch.randperm(PAIRS)
    for figure in (scale_free_distortion, distortion):
        torch.testing.assert_close(figure(P[order], D[order][:, order]), figure(P, D))
    torch.testing.assert_close(DistortionLoss(D[order][:, order])(P[order]), DistortionLoss(D)(P))


def test_classes_at_no_cost_are_left_out():
    D = costs(5)
    D[0, 1] = D[1, 0] = 0
    P = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    a = ratios(P, torch.where(D > 0, D, torch.nan))
    a = a[~np.isnan(a)]
    assert len(a) == 18
    with pytest.warns(UserWarning, match="0 for 2 ordered pairs"):
        loss = DistortionLoss(D)(P)
    assert loss.item() == pytest.approx(1 - a.sum() ** 2 / (18 * (a**2).sum()))
    loss.backward()
    assert P.grad.isfinite().all()


def test_collapsed_prototypes_have_a_finite_gradient():
    P = torch.ones(4, 3, requires_grad=True)
    loss = DistortionLoss(costs(4).float())(P)
    loss.backward()
    assert loss.item() == 1 and P.grad.isfinite().all()
    assert scale_free_distortion(P.detach(), costs(4)).item() == 1


def test_one_precision_is_enough_far_from_the_origin():
    P = torch.randn(6, 4)
    D = torch.cdist(P, P)
    assert DistortionLoss(D)(P + 1000).item() < 1e-6
    torch.testing.assert_close(between(P), D, rtol=1e-4, atol=1e-4)


def test_the_costs_follow_the_module_and_are_not_saved():
    criterion = DistortionLoss(costs())
    assert criterion.to(torch.float32).costs.dtype == torch.float32 and not criterion.state_dict()


def test_bad_input():
    with pytest.raises(ValueError, match="distance must be one of euclidean, cosine, not 'euclidian'"):
        DistortionLoss(costs(), "euclidian")
    with pytest.raises(ValueError, match=r"costs of 7 classes go with prototypes \(7, d\), not \(6, 2\)"):
        DistortionLoss(costs())(torch.zeros(6, 2))
    with pytest.raises(ValueError, match="must be square"):
        DistortionLoss(D=torch.rand(3, 4))


@pytest.mark.parametrize(("values", "median"), [([1, 1, 2], 1), ([2, 1, 1], 1), ([1, 1, 3], 3), ([4], 4), ([0, 0, 5], 5)])
def test_the_median_weighted_by_the_values(values, median):
    """The first value at which half of the sum is reached, as a loop finds it."""
    assert weighted_median(torch.tensor(values, dtype=torch.float32)).item() == median


def test_the_scale_of_no_distances_is_none():
    assert best_scale(torch.zeros(3)).item() == 0 and best_scale(torch.tensor([1.0, 2.0])).item() == pytest.approx(3 / 5)
