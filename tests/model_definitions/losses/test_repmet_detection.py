"""The detector's classification loss against hand-made vectors and a naive loop."""

import math

import pytest
import torch

from repmet.model_definitions.losses.repmet_detection import detection_logits, detection_loss
from repmet.model_definitions.representatives import squared_distances

POINTS = torch.tensor([[[0, 0], [0, 1]], [[2, 0], [2, 1]], [[0, 3], [1, 3]]], dtype=torch.float64)  # (N, K, e)
EMBEDDINGS = torch.tensor([[0.5, 0.5], [1, 0.2], [0.5, 2]], dtype=torch.float64)  # (R, e)
D2 = squared_distances(EMBEDDINGS, POINTS)
BACKGROUND = 3


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1, 2], [3.982589, 11.25212, 12.537457]),
        ([BACKGROUND] * 3, [0.018974, 0.000028, 0.000008]),
        ([0, BACKGROUND, 2], [3.982589, 0.000028, 12.537457]),
    ],
)
def test_the_vectors(labels, expected):
    losses = detection_loss(D2, torch.tensor(labels))
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("regions", "classes", "modes"), [(1, 1, 1), (5, 3, 2), (9, 7, 4)])
@pytest.mark.parametrize(("sigma", "scale"), [(0.5, 15.0), (0.2, 1.0), (1.1, 7.0)])
def test_naive_loops(regions, classes, modes, sigma, scale):
    d2 = torch.rand(regions, classes, modes, dtype=torch.float64) * 2
    labels = torch.randint(classes + 1, (regions,))
    losses = detection_loss(d2, labels, sigma=sigma, scale=scale)
    logits = detection_logits(d2, sigma, scale)
    assert losses.shape == (regions,) and logits.shape == (regions, classes + 1)
    for row, label, loss, logit in zip(d2.tolist(), labels.tolist(), losses, logits, strict=True):
        scores = [max(math.exp(-d / (2 * sigma**2)) for d in of_class) for of_class in row]
        scores.append(1 - max(scores))
        torch.testing.assert_close(logit, scale * torch.tensor(scores, dtype=torch.float64))
        total = sum(math.exp(scale * s) for s in scores)
        assert loss.item() == pytest.approx(-math.log(math.exp(scale * scores[label]) / total))


def test_logits_lie_between_0_and_scale_and_background_is_last():
    d2 = torch.tensor([[[0.0, 4.0], [4.0, 4.0]], [[1e6, 1e6], [1e6, 1e6]]])
    logits = detection_logits(d2)
    torch.testing.assert_close(logits, torch.tensor([[15.0, 15 * math.exp(-8), 0.0], [0.0, 0.0, 15.0]]))


def test_gradcheck():
    d2 = torch.rand(4, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: detection_loss(d, torch.tensor([0, 3, 2, 3])), (d2,))


def test_the_loss_pulls_its_class_near_and_pushes_background_away():
    d2 = torch.full((2, 2, 1), 0.5, requires_grad=True)
    with torch.no_grad():
        d2[:, 1] = 1.0
    detection_loss(d2, torch.tensor([0, 2])).sum().backward()
    assert d2.grad[0, 0] > 0  # foreground: the distance should shrink
    assert d2.grad[1, 0] < 0  # background: it should grow


def test_no_regions():
    d2 = torch.zeros(0, 3, 2, requires_grad=True)
    assert detection_logits(d2).shape == (0, 4)
    assert detection_loss(d2, torch.zeros(0, dtype=torch.long)).shape == (0,)


def test_sigma_must_be_positive():
    with pytest.raises(ValueError, match="must be positive, not 0"):
        detection_loss(D2, torch.tensor([0, 1, 2]), sigma=0)


def test_labels_out_of_range_are_an_error():
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3, not 0\.\.4"):
        detection_loss(D2, torch.tensor([0, 1, 4]))
