"""What the detector found in an image, beside the marks: what is undecided, worth a look, to be expected.

p is the score of a find: the probability, as far as the detector's scores are calibrated, that a person would accept it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from repmet.page.marks import Box, Mark, overlap

FLOOR = 0.05  # finds below are not kept
KEPT = 100  # finds of an image
SAME = 0.5  # overlap from which on a find and a mark are about one object
Threshold = Callable[[str], float]


@dataclass(frozen=True)
class Find:
    """A box that the detector found."""

    box: Box
    name: str
    score: float


def undecided(finds: Iterable[Find], marks: Sequence[Mark]) -> list[Find]:
    """Those that nobody has decided on: no accepted mark is at their place, and no rejected one of their class."""

    def decided(find: Find) -> bool:
        return any(
            (mark.verdict == "accepted" or mark.name == find.name) and overlap(mark.box, find.box) >= SAME for mark in marks
        )

    return [find for find in finds if not decided(find)]


def expected_mistakes(finds: Iterable[Find], threshold: Threshold) -> float:
    """How many finds are expected to be shown wrongly or left out wrongly: the sum of 1 - p above the threshold and p below.

    The image that has most is worth most to look at.
    """
    return sum(1 - find.score if find.score >= threshold(find.name) else find.score for find in finds)


@dataclass(frozen=True)
class Estimate:
    """What to expect of the boxes at the present threshold.

    Attributes:
        accepted: boxes that a person accepted.
        above: undecided finds at or above the threshold.
        precision: (A + sum of p above) / (A + number above), A the accepted ones; None where there is nothing.
        recall: (A + sum of p above) / (A + sum of all p): of the objects for which there is a proposal at all.
    """

    accepted: int
    above: int
    precision: float | None
    recall: float | None


def estimate(finds: Iterable[Find], accepted: int, threshold: float) -> Estimate:
    """Of one class: its undecided finds in all images that were looked at, and how many boxes a person accepted."""
    scores = [find.score for find in finds]
    above = [score for score in scores if score >= threshold]
    right, shown, there = accepted + sum(above), accepted + len(above), accepted + sum(scores)
    return Estimate(accepted, len(above), right / shown if shown else None, right / there if there else None)
