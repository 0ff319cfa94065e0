"""Class scores against RepMet's equations in a loop."""

import math

import pytest
import torch
from episode_world import unit

from repmet.detection.scoring.class_scores import class_scores
from repmet.detection.scoring.rule import FewShotRule


@pytest.mark.parametrize("others", [None, (4, 1), (5, 3)])
@pytest.mark.parametrize("dummies", [0, 1, 121])
@pytest.mark.parametrize(("sigma", "scale"), [(0.5, 15.0), (0.8, 4.0)])
def test_scores_equal_a_naive_loop(dummies, sigma, scale, others):
    embeddings, points = unit(7, 6), unit(3, 2, 6)
    base = None if others is None else unit(*others, 6)
    rule = FewShotRule(sigma=sigma, scale=scale, dummy_columns=dummies)
    scores = class_scores(embeddings, points, rule, base)
    assert scores.shape == (7, 3)
    for row, e in zip(scores.tolist(), embeddings.tolist(), strict=True):
        s = []
        for modes in points.tolist() + ([] if base is None else base.tolist()):
            d2 = min(sum((a - b) ** 2 for a, b in zip(e, r, strict=True)) for r in modes)
            s.append(math.exp(-d2 / (2 * sigma**2)))
        columns = [*s, 1 - max(s), *[math.exp(-2 / (2 * sigma**2))] * dummies]
        total = sum(math.exp(scale * v) for v in columns)
        assert row == pytest.approx([math.exp(scale * v) / total for v in s[:3]], rel=1e-4)


def test_a_perfect_match_is_nearly_certain_and_a_stranger_is_background():
    points = torch.eye(6)[:3, None]
    scores = class_scores(torch.eye(6), points, FewShotRule())
    assert scores[:3].diagonal().min() > 0.9999 and scores[3:].max() < 1e-4
    weaker = class_scores(torch.eye(6), points, FewShotRule(dummy_columns=121))
    assert (weaker < scores).all()
