"""Classes that are decided one by one, for images that may be of several: each class has a head of two, without and with it.

Shapes: S support images, N classes, B embeddings, e embedding dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repmet.classification.array_head import Floats
from repmet.classification.fitted_head import FittedHead, expected_sigma, fitted_head
from repmet.classification.held_out import FOLDS, SPREAD
from repmet.errors import UserError


@dataclass(frozen=True, eq=False)
class HeldOutDecisions:
    """Margins of supports that were held out, and whether they show the class; both (D,), with the classes' log odds."""

    margins: Floats
    truth: NDArray[np.bool_]
    odds: Floats


@dataclass(frozen=True, eq=False)
class SeveralHeads:
    """Heads of all classes, and what turns their margins into probabilities.

    Attributes:
        heads: N, each of the classes without and with.
        odds: (N,), `ln(n_c / (S - n_c))` of the supports.
        scale, offset: see `fitted_scale`.
        held_out: what they were fitted to.
    """

    heads: tuple[FittedHead, ...]
    odds: Floats
    scale: float
    offset: float
    held_out: HeldOutDecisions

    def probabilities(self, embeddings: Floats) -> Floats:
        """Of each class by itself, `1 / (1 + exp(-(scale m_c + offset + odds_c)))`; (B, e) -> (B, N), rows have any sum."""
        margins = np.stack([margin(head, embeddings) for head in self.heads], 1)  # (B, N)
        logits = self.scale * margins + self.offset + self.odds
        return np.exp(-np.logaddexp(0, -logits))

    @property
    def loss(self) -> float:
        """The mean of `-ln p` of the decisions that were held out, in nats."""
        return _loss(self.held_out, self.scale, self.offset) / max(1, len(self.held_out.truth))


def margin(head: FittedHead, embeddings: Floats) -> Floats:
    """How much nearer embeddings are to the images with a class than to those without, `d2_without - d2_with`, (B,)."""
    d2 = head.distances(embeddings).min(-1)  # (B, 2)
    return d2[:, 0] - d2[:, 1]


def several_heads(
    embeddings: Floats, members: NDArray[np.bool_], classes: tuple[str, ...], modes: int | None
) -> SeveralHeads:
    """Heads of a support set.

    Args:
        embeddings: (S, e), of different images. members: (S, N), whether an image shows a class. modes: as `LearntImages`.

    Raises:
        ValueError: a class that all images show: there is nothing to tell it from.
    """
    counts = members.sum(0)
    if everywhere := [name for name, count in zip(classes, counts, strict=True) if count == len(members)]:
        raise UserError(f"every image is of the class {everywhere[0]!r}: images without it are needed to tell it from")

    def heads(chosen: NDArray[np.bool_]) -> list[FittedHead | None]:
        """None of a class that the chosen images all show, or none of them."""
        there = [members[chosen, c].astype(np.int64) for c in range(len(classes))]
        return [
            fitted_head(embeddings[chosen], labels, 2, modes or len(labels)) if 0 < labels.sum() < len(labels) else None
            for labels in there
        ]

    odds = np.log(counts / (len(members) - counts))
    margins, truth, of_class = [np.empty(0)], [np.empty(0, bool)], [np.empty(0)]
    place = np.arange(len(members)) % FOLDS
    for fold in range(FOLDS if len(members) > 1 else 0):
        out = place == fold
        for c, head in enumerate(heads(~out) if out.any() else ()):
            if head is not None:
                margins.append(margin(head, embeddings[out]))
                truth.append(members[out, c])
                of_class.append(np.full(out.sum(), odds[c]))
    held_out = HeldOutDecisions(np.concatenate(margins), np.concatenate(truth), np.concatenate(of_class))
    sigma = expected_sigma(embeddings, members.argmax(1))
    scale, offset = fitted_scale(held_out, 1 / (2 * sigma**2))
    every = heads(np.ones(len(members), bool))
    return SeveralHeads(tuple(head for head in every if head is not None), odds, scale, offset, held_out)


def fitted_scale(held_out: HeldOutDecisions, prior: float) -> tuple[float, float]:
    """The scale and offset under which held-out decisions are most likely, for all classes together (Platt 1999):

        `P = 1 / (1 + exp(-(scale m + offset + odds)))`,  with normal priors of ln scale about ln prior and of offset about 0

    Args:
        prior: the scale that is expected without looking, `1 / (2 sigma^2)`.
    """
    from scipy.optimize import minimize

    def cost(steps: np.ndarray) -> float:
        loss = _loss(held_out, prior * float(np.exp(steps[0])), float(steps[1]))
        return loss + float(steps[0]) ** 2 / (2 * SPREAD**2) + float(steps[1]) ** 2 / 2

    step, offset = minimize(cost, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-3}).x
    return prior * float(np.exp(step)), float(offset)


def _loss(held_out: HeldOutDecisions, scale: float, offset: float) -> float:
    logits = scale * held_out.margins + offset + held_out.odds
    return float(np.logaddexp(0, np.where(held_out.truth, -logits, logits)).sum())
