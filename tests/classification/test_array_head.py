"""The head on arrays against the one in torch."""

import numpy as np
import pytest
import torch

from repmet.classification.array_head import centres, soft_log_posterior, squared_distances
from repmet.model_definitions import episode, representatives


def rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def test_distances_and_posterior_are_torchs() -> None:
    embeddings, points = rows(7, 5), rows(3, 2, 5)
    d2 = squared_distances(embeddings, points)
    expected = representatives.squared_distances(torch.from_numpy(embeddings), torch.from_numpy(points))
    np.testing.assert_allclose(d2, expected, rtol=1e-5)
    assert squared_distances(points[:, 0], points).min() == 0
    for sigma in (0.1, 1.0):
        log = soft_log_posterior(d2, sigma)
        np.testing.assert_allclose(log, representatives.soft_log_posterior(expected, sigma), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(np.exp(log).sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("modes", [1, 2, 3, 9])
def test_representatives_are_torchs(modes) -> None:
    embeddings, labels = rows(11, 4), np.array([0, 1, 1, 2, 2, 2, 2, 2, 0, 1, 2])
    expected = episode.kmeans_centres(torch.from_numpy(embeddings), torch.from_numpy(labels), 3, modes)
    np.testing.assert_allclose(centres(embeddings, labels, 3, modes), expected, atol=1e-6)
