"""The NCA loss against its definition, pair by pair, and where there is nothing to compare."""

import math

import pytest
import torch

from repmet.model_definitions.losses.neighbourhood_components import neighbourhood_components_loss


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_its_definition(temperature):
    embeddings = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 7])  # the last is alone
    points = embeddings.tolist()
    expected, right = [], []
    for i in range(8):
        weights = [math.exp(-(math.dist(points[i], point) ** 2) / temperature) for point in points]
        of_class = sum(weights[j] for j in range(9) if j != i and labels[j] == labels[i])
        p = of_class / sum(weights[j] for j in range(9) if j != i)
        expected.append(-math.log(p))
        right.append(p > 0.5)
    loss, above = neighbourhood_components_loss(embeddings, labels, temperature)
    assert loss.item() == pytest.approx(sum(expected) / 8, rel=1e-9) and above.tolist() == right


def test_embeddings_that_are_far_apart_or_equal_have_a_finite_loss_and_gradient():
    embeddings = torch.tensor([[0.0, 0.0], [0.0, 0.0], [900.0, 0.0], [0.0, 900.0]], requires_grad=True)
    loss, _ = neighbourhood_components_loss(embeddings, torch.tensor([0, 1, 0, 1]))
    loss.backward()
    assert loss.isfinite() and embeddings.grad.isfinite().all() and embeddings.grad.abs().sum() > 0


def test_a_batch_of_lonely_images_has_no_loss():
    embeddings = torch.randn(3, 2, requires_grad=True)
    loss, right = neighbourhood_components_loss(embeddings, torch.arange(3))
    loss.backward()
    assert loss.item() == 0 and len(right) == 0 and not embeddings.grad.any()
