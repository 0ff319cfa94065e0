"""Tuning: better where there is something to learn, and never worse by its own estimate."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import log_softmax

from repmet.classification.fitted_head import PLAIN, Tuning
from repmet.classification.learnt_images import LearntImages
from repmet.classification.tuning import estimate, tuned


def learnt(embeddings: np.ndarray, labels: np.ndarray, tuning: Tuning = PLAIN) -> LearntImages:
    classes = tuple("abcdefgh"[: int(labels.max()) + 1])
    return replace(LearntImages.bare(classes, embeddings, labels, 1), tuning=tuning)


def world(seed: int, nuisance: float, per_class: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Classes in four of twelve directions; the others have nothing to do with them."""
    labels = np.repeat(np.arange(4), per_class)
    noise = np.random.default_rng(seed).standard_normal((len(labels), 12)) * ([0.15] * 4 + [nuisance] * 8)
    return (np.eye(4, 12)[labels] + noise).astype(np.float32), labels


def test_the_estimate_is_of_images_that_were_left_out() -> None:
    embeddings, labels = world(0, 0.6, per_class=3)
    said = estimate(learnt(embeddings, labels))
    right, sigma = 0, learnt(embeddings, labels).sigma
    loss = (math.log(sigma) - math.log(learnt(embeddings, labels).expected_sigma)) ** 2 / (2 * 0.4**2)
    for fold in range(3):
        rest = np.arange(12) % 3 != fold
        means = np.stack([embeddings[rest & (labels == c)].mean(0) for c in range(4)])
        d2 = cdist(embeddings[~rest], means, "sqeuclidean")
        right += (d2.argmin(1) == labels[~rest]).sum()
        loss -= log_softmax(-d2 / (2 * sigma**2), 1)[np.arange(4), labels[~rest]].sum()
    assert (said.number, said.accuracy) == (12, pytest.approx(right / 12))
    assert said.loss == pytest.approx(loss / 12, rel=1e-4)


def test_a_metric_and_moved_representatives_where_they_help() -> None:
    plain = learnt(*world(0, 1.2, per_class=12))
    better = tuned(plain)
    assert better.tuning != PLAIN
    assert estimate(better).loss < 0.8 * estimate(plain).loss
    x, y = world(99, 1.2, per_class=100)
    right = [(of.head.distances(x)[..., 0].argmin(1) == y).mean() for of in (plain, better)]
    assert right[1] > right[0] + 0.05  # on images that nothing was fitted to


@pytest.mark.parametrize("seed", range(4))
def test_never_worse_by_its_own_estimate(seed) -> None:
    generator = np.random.default_rng(seed)
    plain = learnt(generator.standard_normal((20, 6)), np.repeat(np.arange(4), 5))
    before, after = estimate(plain), estimate(tuned(plain))
    assert after.loss <= before.loss and after.accuracy >= before.accuracy


def test_what_cannot_be_judged_stays_as_it_is() -> None:
    alone = learnt(np.eye(3), np.arange(3), Tuning(0.5, 1.0))
    assert estimate(alone) is None and tuned(alone).tuning == PLAIN
    single = learnt(np.eye(3), np.zeros(3, np.int64))
    assert tuned(single).tuning == PLAIN
    assert tuned(learnt(*world(0, 1.2)), seconds=0).tuning == PLAIN  # no time for a candidate
