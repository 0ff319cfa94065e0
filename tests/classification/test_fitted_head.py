"""The metric against scipy's matrix root, moved representatives against autograd's gradient and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.linalg import inv, sqrtm

from repmet.classification.fitted_head import Tuning, fitted_head, moved, whitening
from repmet.model_definitions.episode import all_shots, class_means
from repmet.model_definitions.representatives import soft_log_posterior, squared_distances


def world(per_class: int = 6, dim: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(3).repeat_interleave(per_class)
    spread = torch.linspace(0.1, 0.9, dim)
    return torch.eye(3, dim)[labels] + spread * torch.randn(len(labels), dim, generator=generator), labels


@pytest.mark.parametrize("per_class", [6, 2])  # more images than dimensions, and fewer
def test_whitening_is_the_root_of_the_shrunk_covariance(per_class) -> None:
    x, y = world(per_class)
    means = np.stack([x[y == c].mean(0) for c in range(3)])
    within = x.numpy() - means[y]
    covariance = within.T @ within / (len(x) - 3)
    level = np.trace(covariance) / x.shape[1]
    root = inv(sqrtm(0.7 * covariance + 0.3 * level * np.eye(8))).real * np.sqrt(0.3 * level)  # up to its scale
    np.testing.assert_allclose(whitening(x, y, 3, 0.3)(x).numpy(), x.numpy() @ root, atol=1e-4)


@pytest.mark.parametrize("modes", [1, 2])
def test_moved_representatives_are_where_the_gradient_vanishes(modes) -> None:
    x, y = world()
    start = class_means(x, y, 3) if modes == 1 else all_shots(x, y, 3)[:, :2]
    points = moved(start, x, y, sigma=0.8, weight=2.0)

    def cost(r: torch.Tensor) -> torch.Tensor:
        log_posterior = soft_log_posterior(squared_distances(x.double(), r), 0.8)
        return 2.0 * (r - start).square().sum() / (2 * 0.8**2) - log_posterior.gather(1, y[:, None]).sum()

    free = points.double().requires_grad_()
    cost(free).backward()
    at_start = start.double().requires_grad_()
    cost(at_start).backward()
    assert free.grad.norm() < 0.02 * at_start.grad.norm()
    assert cost(free) < cost(at_start)


def test_what_holds_the_representatives_decides_how_far_they_move() -> None:
    x, y = world()
    plain = fitted_head(x, y, 3, 1)
    torch.testing.assert_close(plain.points, class_means(x, y, 3))
    assert plain.metric is None
    torch.testing.assert_close(fitted_head(x, y, 3, 1, Tuning(1.0, 1e6)).points, plain.points, atol=1e-3, rtol=0)
    steps = [(fitted_head(x, y, 3, 1, Tuning(1.0, w)).points - plain.points).norm().item() for w in (10.0, 1.0, 0.1)]
    assert steps == sorted(steps)
    hard = x + 0.7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    heads = [fitted_head(hard, y, 3, 1, Tuning(1.0, weight)) for weight in (None, 0.01)]
    right = [(head.distances(hard)[..., 0].argmin(1) == y).sum().item() for head in heads]
    assert right[0] < right[1]  # free enough, it tells the supports better apart


def test_a_head_sees_embeddings_in_its_metric() -> None:
    x, y = world()
    head = fitted_head(x, y, 3, 1, Tuning(0.2))
    seen = head.metric(x)
    torch.testing.assert_close(head.points, class_means(seen, y, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(head.distances(x[:4]), squared_distances(seen[:4], head.points))
