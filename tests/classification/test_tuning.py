"""Tuning: better where there is something to learn, and never worse by its own estimate."""

import math

import pytest
import torch

from repmet.classification.fitted_head import PLAIN, Tuning
from repmet.classification.learnt_images import LearntImages
from repmet.classification.tuning import estimate, tuned


def learnt(embeddings: torch.Tensor, labels: torch.Tensor, tuning: Tuning = PLAIN) -> LearntImages:
    classes = tuple("abcdefgh"[: int(labels.max()) + 1])
    thumbnails = torch.zeros(len(labels), 1, 1, 3, dtype=torch.uint8)
    return LearntImages(classes, embeddings, labels, ("",) * len(labels), thumbnails, 1, None, tuning)


def world(seed: int, nuisance: float, per_class: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes in four of twelve directions; the others have nothing to do with them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(4).repeat_interleave(per_class)
    noise = torch.randn(len(labels), 12, generator=generator) * torch.tensor([0.15] * 4 + [nuisance] * 8)
    return torch.eye(4, 12)[labels] + noise, labels


def test_the_estimate_is_of_images_that_were_left_out() -> None:
    embeddings, labels = world(0, 0.6, per_class=3)
    said = estimate(learnt(embeddings, labels))
    right, sigma = 0, learnt(embeddings, labels).sigma
    loss = (math.log(sigma) - math.log(learnt(embeddings, labels).expected_sigma)) ** 2 / (2 * 0.4**2)
    for fold in range(3):
        rest = torch.arange(12) % 3 != fold
        means = torch.stack([embeddings[rest & (labels == c)].mean(0) for c in range(4)])
        d2 = torch.cdist(embeddings[~rest], means).square()
        right += (d2.argmin(1) == labels[~rest]).sum().item()
        loss -= torch.log_softmax(-d2 / (2 * sigma**2), 1).gather(1, labels[~rest][:, None]).sum().item()
    assert (said.number, said.accuracy) == (12, pytest.approx(right / 12))
    assert said.loss == pytest.approx(loss / 12, rel=1e-4)


def test_a_metric_and_moved_representatives_where_they_help() -> None:
    plain = learnt(*world(0, 1.2, per_class=12))
    better = tuned(plain)
    assert better.tuning != PLAIN
    assert estimate(better).loss < 0.8 * estimate(plain).loss
    x, y = world(99, 1.2, per_class=100)
    right = [(of.head.distances(x)[..., 0].argmin(1) == y).float().mean().item() for of in (plain, better)]
    assert right[1] > right[0] + 0.05  # on images that nothing was fitted to


@pytest.mark.parametrize("seed", range(4))
def test_never_worse_by_its_own_estimate(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    plain = learnt(torch.randn(20, 6, generator=generator), torch.arange(4).repeat_interleave(5))
    before, after = estimate(plain), estimate(tuned(plain))
    assert after.loss <= before.loss and after.accuracy >= before.accuracy


def test_what_cannot_be_judged_stays_as_it_is() -> None:
    alone = learnt(torch.eye(3), torch.arange(3), Tuning(0.5, 1.0))
    assert estimate(alone) is None and tuned(alone).tuning == PLAIN
    single = learnt(torch.eye(3), torch.zeros(3, dtype=torch.long))
    assert tuned(single).tuning == PLAIN
    assert tuned(learnt(*world(0, 1.2)), seconds=0).tuning == PLAIN  # no time for a candidate
