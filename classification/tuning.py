"""A minute's training on the embeddings of the support images, judged by leaving images out."""

import time
from dataclasses import dataclass, replace

import numpy as np

from repmet.classification.fitted_head import PLAIN, Tuning
from repmet.classification.held_out import sigma_costs
from repmet.classification.learnt_images import LearntImages

SHRINKAGES = (0.5, 0.2)
WEIGHTS = (1.0, 0.3, 0.1, 0.03)  # in this order, as long as the loss falls
MOVING = 15  # times as long as class means: what representatives that move are expected to take, before the first did


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

    Candidates are whitened embeddings, then representatives that move, ever freer, in the best metric and in the plain one
    (`Tuning`). One takes the place of the best so far where its loss is less and its accuracy no worse than the untuned
    head's, both on images that its fits did not see: by its own estimate the result is never worse than what it started
    from.

    Args:
        learnt: a support set; its own tuning plays no part.
        seconds: that it takes, about: a candidate that is expected to take longer than what is left is not begun.

    Returns:
        The set with its tuning: the plain one where nothing is better, or where no class has two images.
    """
    start = time.monotonic()
    end = start + seconds
    best = replace(learnt, tuning=PLAIN)
    untuned = lowest = estimate(best)
    if untuned is None or len(learnt.classes) < 2:
        return best
    fixed = time.monotonic() - start
    moving = MOVING * fixed
    losses = {PLAIN.shrinkage: untuned.loss}
    for tuning in map(Tuning, SHRINKAGES):
        if time.monotonic() + fixed > end:
            return best
        candidate = replace(learnt, tuning=tuning)
        reached = estimate(candidate)
        losses[tuning.shrinkage] = reached.loss
        if _is_better(reached, lowest, untuned):
            best, lowest = candidate, reached
    for shrinkage in dict.fromkeys((best.tuning.shrinkage, PLAIN.shrinkage)):
        before = losses[shrinkage]
        for weight in WEIGHTS:
            begun = time.monotonic()
            if begun + moving > end:
                return best
            candidate = replace(learnt, tuning=Tuning(shrinkage, weight))
            reached = estimate(candidate)
            moving = time.monotonic() - begun
            if _is_better(reached, lowest, untuned):
                best, lowest = candidate, reached
            if reached.loss > before:
                break  # freer representatives would be worse still
            before = reached.loss
    return best


def _is_better(reached: HeldOutEstimate, lowest: HeldOutEstimate, untuned: HeldOutEstimate) -> bool:
    return reached.loss < lowest.loss and reached.accuracy >= untuned.accuracy
