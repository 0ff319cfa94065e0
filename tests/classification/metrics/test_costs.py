"""Costs of mistakes against loops in NumPy."""

import numpy as np
import pytest
import torch
from scipy import stats

from repmet.classification.metrics.costs import cost_figures, image_costs
from repmet.model_definitions.hierarchy import Hierarchy
from repmet.model_definitions.losses.distortion import scale_free_distortion
from tests.model_definitions.test_hierarchy import DIGITS

TREE = Hierarchy(DIGITS)


@pytest.fixture
def decided() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, 10, (200,))
    return torch.where(torch.rand(200) < 0.6, labels, torch.randint(0, 10, (200,))), labels


def test_average_cost_is_a_loop(decided):
    predicted, labels = decided
    D = TREE.distances()
    costs = np.array([D[y, p].item() for p, y in zip(predicted, labels, strict=True)])
    figures = cost_figures(predicted, labels, D, TREE)
    assert figures["average cost"].mean == pytest.approx(costs.mean()) and figures["average cost"].n == 200
    assert figures["average cost"].ci95 == pytest.approx(stats.t.ppf(0.975, 199) * costs.std(ddof=1) / 200**0.5)
    wrong = costs > 0
    assert figures["error rate"].mean == pytest.approx(wrong.mean())
    distance = figures["hierarchical distance of mistakes"]
    assert distance.mean == pytest.approx(costs[wrong].mean() / 2) and distance.n == wrong.sum()  # heights are half of it


def test_with_unit_costs_it_is_the_error_rate(decided):
    figures = cost_figures(*decided, 1 - torch.eye(10))
    assert figures["average cost"] == figures["error rate"] and set(figures) == {"average cost", "error rate"}


def test_ignored_labels_and_pixels(decided):
    predicted, labels = decided
    D = TREE.distances()
    kept = torch.arange(200) % 3 > 0
    marked = torch.where(kept, labels, 255)
    expected = image_costs(predicted[kept], labels[kept], D)
    assert torch.equal(image_costs(predicted, marked, D, ignore_index=255), expected)
    assert torch.equal(image_costs(predicted.reshape(2, 10, 10), marked.reshape(2, 10, 10), D, 255), expected)


def test_distortion_and_no_mistake():
    labels, points = torch.arange(10), torch.randn(10, 3)
    figures = cost_figures(labels, labels, TREE.distances(), TREE, points)
    assert figures["error rate"].mean == 0 and "hierarchical distance of mistakes" not in figures
    assert figures["distortion"].mean == pytest.approx(scale_free_distortion(points.double(), TREE.distances()).item())


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        ([1, 2], [1], "must have one shape"),
        ([1, 10], [1, 2], r"predictions must lie in 0..9, not 1..10"),
        ([1, 1], [1, -1], r"labels must lie in 0..9, not -1..1"),
        ([1, 1], [-100, -100], "no label that counts"),
    ],
)
def test_bad_input(predicted, labels, message):
    with pytest.raises(ValueError, match=message):
        image_costs(torch.tensor(predicted), torch.tensor(labels), TREE.distances())
