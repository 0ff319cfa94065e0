"""A minute's training on the embeddings of the support images, judged by leaving images out."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from repmet.classification.fitted_head import PLAIN, Tuning
from repmet.classification.held_out import sigma_costs
from repmet.classification.learnt_images import LearntImages

SHRINKAGES = (1.0, 0.5, 0.2)
WEIGHTS = (None, 1.0, 0.3, 0.1, 0.03)  # of each metric in this order, as long as the loss falls


@dataclass(frozen=True)
class HeldOutEstimate:
    """What to expect on other images, by the supports that were held out.

    Attributes:
        number: of them.
        accuracy: the share that the nearest representative is right about, in [0, 1].
        loss: the mean of `-ln P` of their classes, with the prior of sigma, in nats: what `fitted_sigma` minimises.
    """

    number: int
    accuracy: float
    loss: float


def estimate(learnt: LearntImages) -> HeldOutEstimate | None:
    """Of a support set; None where no class has two images."""
    if not learnt.held_out:
        return None
    right = [part.d2.min(-1).argmin(1) == part.labels for part in learnt.held_out]
    _, costs = sigma_costs(learnt.held_out, learnt.expected_sigma)
    answers = np.concatenate(right)
    return HeldOutEstimate(len(answers), float(answers.mean()), float(costs.min()) / len(answers))


def tuned(learnt: LearntImages, seconds: float = 60.0) -> LearntImages:
    """With the metric and the representatives that held-out supports are likeliest under.

    Candidates are the plain embedding and whitened ones, each with representatives that stay, and that move (`Tuning`). One
    takes the place of the best so far where its loss is less and its accuracy no worse than the untuned head's, both on
    images that its fits did not see: by its own estimate the result is never worse than what it started from.

    Args:
        learnt: a support set; its own tuning plays no part.
        seconds: after which no further candidate is begun.

    Returns:
        The set with its tuning: the plain one where nothing is better, or where no class has two images.
    """
    end = time.monotonic() + seconds
    plain = best = replace(learnt, tuning=PLAIN)
    untuned = lowest = estimate(plain)
    if untuned is None or lowest is None or len(learnt.classes) < 2:
        return plain
    for shrinkage in SHRINKAGES:
        before = math.inf
        for weight in WEIGHTS:
            if time.monotonic() > end:
                return best
            candidate = replace(learnt, tuning=Tuning(shrinkage, weight))
            reached = estimate(candidate)
            if reached is None or reached.loss > before:
                break  # freer representatives would be worse still
            before = reached.loss
            if reached.loss < lowest.loss and reached.accuracy >= untuned.accuracy:
                best, lowest = candidate, reached
    return best
