"""The metric against scipy's matrix root, moved representatives against autograd's gradient and scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.linalg import inv, sqrtm

from repmet.classification.fitted_head import Tuning, fitted_head, moved, whitening
from repmet.model_definitions.representatives import soft_log_posterior, squared_distances


def world(per_class: int = 6, dim: int = 8) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(3), per_class)
    noise = np.linspace(0.1, 0.9, dim) * np.random.default_rng(1).standard_normal((len(labels), dim))
    return (np.eye(3, dim)[labels] + noise).astype(np.float32), labels


def means_of(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x[y == c].mean(0, keepdims=True) for c in range(3)])


@pytest.mark.parametrize("per_class", [6, 2])  # more images than dimensions, and fewer
def test_whitening_is_the_root_of_the_shrunk_covariance(per_class) -> None:
    x, y = world(per_class)
    means = np.stack([x[y == c].mean(0) for c in range(3)])
    within = x - means[y]
    covariance = within.T @ within / (len(x) - 3)
    level = np.trace(covariance) / x.shape[1]
    root = inv(sqrtm(0.7 * covariance + 0.3 * level * np.eye(8))).real * np.sqrt(0.3 * level)  # up to its scale
    np.testing.assert_allclose(whitening(x, y, 3, 0.3)(x), x @ root, atol=1e-4)


@pytest.mark.parametrize("modes", [1, 2])
def test_moved_representatives_are_where_the_gradient_vanishes(modes) -> None:
    x, y = world()
    start = means_of(x, y) if modes == 1 else np.stack([x[y == c][:2] for c in range(3)])
    points = torch.from_numpy(moved(start, x, y, sigma=0.8, weight=2.0))
    x, y, start = map(torch.from_numpy, (x, y, start))

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
    np.testing.assert_allclose(plain.points, means_of(x, y), atol=1e-6)
    assert plain.metric is None
    np.testing.assert_allclose(fitted_head(x, y, 3, 1, Tuning(1.0, 1e6)).points, plain.points, atol=1e-3)
    steps = [np.linalg.norm(fitted_head(x, y, 3, 1, Tuning(1.0, w)).points - plain.points) for w in (10.0, 1.0, 0.1)]
    assert steps == sorted(steps)
    hard = (x + 0.7 * np.random.default_rng(2).standard_normal(x.shape)).astype(np.float32)
    heads = [fitted_head(hard, y, 3, 1, Tuning(1.0, weight)) for weight in (None, 0.01)]
    right = [(head.distances(hard)[..., 0].argmin(1) == y).sum() for head in heads]
    assert right[0] < right[1]  # free enough, it tells the supports better apart


def test_a_head_sees_embeddings_in_its_metric() -> None:
    x, y = world()
    head = fitted_head(x, y, 3, 1, Tuning(0.2))
    seen = head.metric(x)
    np.testing.assert_allclose(head.points, means_of(seen, y), atol=1e-5)
    expected = squared_distances(*map(torch.from_numpy, (seen[:4], head.points)))
    np.testing.assert_allclose(head.distances(x[:4]), expected, atol=1e-5)
