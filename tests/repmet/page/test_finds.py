"""What is undecided, what is worth a look, what to expect: by hand and against a simulation."""

import random

import pytest

from repmet.page.finds import Find, estimate, expected_mistakes, undecided
from repmet.page.marks import Mark

BOX, OTHER = (0, 0, 10, 10), (50, 50, 60, 60)


def test_a_mark_decides_of_what_lies_at_its_place():
    finds = [Find(BOX, "nut", 0.9), Find(BOX, "bolt", 0.4), Find(OTHER, "nut", 0.3)]
    assert undecided(finds, []) == finds
    assert undecided(finds, [Mark(1, "a", (1, 0, 10, 10), "nut")]) == finds[2:]
    assert undecided(finds, [Mark(1, "a", BOX, "nut", "rejected")]) == finds[1:]  # it may be a bolt still
    assert undecided(finds, [Mark(1, "a", (8, 0, 18, 10), "nut")]) == finds


def test_expected_mistakes_by_hand():
    finds = [Find(BOX, "nut", 0.9), Find(BOX, "nut", 0.4), Find(BOX, "bolt", 0.4)]
    threshold = {"nut": 0.5, "bolt": 0.3}.__getitem__
    assert expected_mistakes(finds, threshold) == pytest.approx(0.1 + 0.4 + 0.6)
    assert expected_mistakes([], threshold) == 0


def test_the_estimate_is_right_where_scores_are_probabilities():
    rng = random.Random(1)
    scores = [rng.random() for _ in range(20000)]
    right = [rng.random() < p for p in scores]
    accepted, threshold = 500, 0.4
    expected = estimate([Find(BOX, "nut", p) for p in scores], accepted, threshold)
    shown = accepted + sum(r for r, p in zip(right, scores, strict=True) if p >= threshold)
    above = sum(p >= threshold for p in scores)
    assert (expected.accepted, expected.above) == (accepted, above)
    assert expected.precision == pytest.approx(shown / (accepted + above), abs=0.01)
    assert expected.recall == pytest.approx(shown / (accepted + sum(right)), abs=0.01)


def test_of_nothing_there_is_no_estimate():
    nothing = estimate([], 0, 0.5)
    assert nothing.precision is None and nothing.recall is None
