"""What a support set says of itself, against sums written out one image at a time."""

import math

import numpy as np
import pytest

from repmet.classification.fitted_head import FittedHead, fitted_head
from repmet.classification.held_out import (
    FOLDS,
    SPREAD,
    HeldOut,
    fitted_sigma,
    held_out_distances,
    strangeness,
    strangest_allowed,
)


def held_out_of(embeddings: np.ndarray, labels: np.ndarray, classes: int, modes: int = 1) -> list[HeldOut]:
    def fit(some: np.ndarray, of: np.ndarray) -> FittedHead:
        return fitted_head(some, of, classes, modes)

    return held_out_distances(embeddings, labels, classes, fit)


def world(per_class: int = 4, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), per_class)
    return np.eye(3, 5)[labels] + spread * generator.standard_normal((len(labels), 5)), labels


def test_each_image_is_judged_without_itself() -> None:
    embeddings, labels = world()  # fewer images a class than folds: one is held out at a time
    held_out = held_out_of(embeddings, labels, 3)
    assert sum(len(part.labels) for part in held_out) == len(labels)
    by_class = {}
    for part in held_out:
        np.testing.assert_array_equal(labels[part.indices], part.labels)
        for row, label in zip(part.d2[..., 0], part.labels, strict=True):
            by_class.setdefault(label.item(), []).append(row)
    for fold in range(4):  # the k-th of every class are held out together
        rest = [i for i in range(12) if i % 4 != fold]
        means = np.stack([embeddings[[i for i in rest if labels[i] == c]].mean(0) for c in range(3)])
        for c in range(3):
            expected = np.square(embeddings[4 * c + fold] - means).sum(1)
            np.testing.assert_allclose(by_class[c][fold], expected)


def test_a_class_of_one_image_keeps_it() -> None:
    embeddings, labels = world()
    alone = np.append(labels, 3)
    held_out = held_out_of(np.concatenate([embeddings, np.ones((1, 5))]), alone, 4)
    assert all(part.d2.shape[1:] == (4, 1) for part in held_out)
    assert 3 not in np.concatenate([part.labels for part in held_out])
    assert held_out_of(np.eye(3), np.arange(3), 3) == []
    assert len(held_out_of(*world(per_class=12), 3, modes=2)) == FOLDS


def test_sigma_maximises_what_the_held_out_images_and_the_prior_say() -> None:
    held_out = held_out_of(*world(), 3)

    def cost(sigma: float) -> float:
        total = (math.log(sigma) - math.log(0.5)) ** 2 / (2 * SPREAD**2)
        for part in held_out:
            for row, label in zip(part.d2[..., 0].tolist(), part.labels.tolist(), strict=True):
                kernels = [math.exp(-d / (2 * sigma**2)) for d in row]
                total -= math.log(kernels[label] / sum(kernels))
        return total

    sigma = fitted_sigma(held_out, 0.5)
    grid = [0.5 * math.exp(step / 200) for step in range(-300, 301)]
    assert cost(sigma) == pytest.approx(min(map(cost, grid)), abs=0.02)
    assert sigma != pytest.approx(0.5, rel=0.05)
    assert fitted_sigma([], 0.7) == pytest.approx(0.7)


def test_strangeness_is_the_nearest_class_among_all() -> None:
    d2 = np.array([[[4.0, 1.0], [3.0, 9.0]], [[2.0, 2.0], [2.0, 5.0]]])  # nearest of each class: 1, 3 and 2, 2
    np.testing.assert_allclose(strangeness(d2), [0.5, 1.0])
    np.testing.assert_allclose(strangeness(d2[:, :1]), [1.0, 2.0])  # of one class the distance
    assert strangeness(np.zeros((1, 2, 1))).item() == 0  # an image that all classes share is strange to none


def test_the_share_that_is_refused() -> None:
    near = np.arange(1.0, 20.0)[:, None]  # 19 images; the other class lies where the mean of both is 20
    d2 = np.stack([near, 40 - near], 1)
    held_out = [HeldOut(np.arange(19), d2, np.zeros(19, np.int64))]
    assert strangest_allowed(held_out, 0.05) == pytest.approx(19 / 20)
    assert strangest_allowed(held_out, 0.1) == pytest.approx(18 / 20)
    assert strangest_allowed(held_out, 0.5) == pytest.approx(10 / 20)
    with pytest.raises(ValueError, match=r"at most 0.04 .* takes 24 support images .* there are 19.* a share of 0.05"):
        strangest_allowed(held_out, 0.04)
    with pytest.raises(ValueError, match="there are 0"):
        strangest_allowed([], 0.1)
    with pytest.raises(ValueError, match="lies between 0 and 1, not 1"):
        strangest_allowed(held_out, 1)
