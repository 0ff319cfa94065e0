"""MyLoss in both forms against hand-made vectors and naive loops."""

import math

import pytest
import torch

from repmet.model_definitions.losses.my_loss import my_loss_code, my_loss_readme
from repmet.model_definitions.representatives import squared_distances

POINTS = torch.tensor([[[0, 0], [0, 1]], [[2, 0], [2, 1]], [[0, 3], [1, 3]]], dtype=torch.float64)  # (N, K, e)
EMBEDDINGS = torch.tensor([[0.5, 0.5], [1, 0.2], [0.5, 2]], dtype=torch.float64)  # (B, e)
LABELS = torch.tensor([0, 1, 2])
D2 = squared_distances(EMBEDDINGS, POINTS)


def naive(form, d, labels, alpha, sigma):
    """Per-sample losses from D (B, N, K) as nested lists."""
    factor = -1 / (2 * sigma**2)
    present = sorted(set(labels))
    modes = range(len(d[0][0]))
    representatives = len(present) * len(modes)  # J
    losses = []
    for row, y in zip(d, labels, strict=True):
        total = 0.0
        for i in present:
            for j in modes:
                if form is my_loss_readme:
                    farthest = max(row[y])
                elif i == y:
                    continue
                else:
                    farthest = max(other[i][j] for other, label in zip(d, labels, strict=True) if label == i)
                total += max(0.0, factor * (row[i][j] - farthest - alpha))
        losses.append(total / representatives)
    return losses


@pytest.mark.parametrize(
    ("form", "measure", "expected", "mean"),
    [
        (my_loss_code, "squared", [0.046667, 0.153333, 0.083333], 0.094444),
        (my_loss_code, "euclidean", [0.379384, 0.371262, 0.355641], 0.368762),
        (my_loss_readme, "squared", [0.666667, 1.733333, 1.0], 1.133333),
    ],
)
def test_the_vectors(form, measure, expected, mean):
    losses = form(D2, LABELS, measure=measure, reduction="none")
    torch.testing.assert_close(losses, torch.tensor(expected).double(), rtol=0, atol=1e-6)
    assert form(D2, LABELS, measure=measure).item() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("form", [my_loss_code, my_loss_readme])
@pytest.mark.parametrize("measure", ["squared", "euclidean"])
@pytest.mark.parametrize(("b", "n", "k"), [(1, 2, 1), (5, 3, 2), (8, 7, 3)])
@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.5), (0.2, 1.3)])
def test_naive_loops(form, measure, b, n, k, alpha, sigma):
    d2 = torch.rand(b, n, k, dtype=torch.float64) * 3
    labels = torch.randint(n, (b,))  # not every class is in every batch
    d = d2.tolist() if measure == "squared" else d2.sqrt().tolist()
    expected = naive(form, d, labels.tolist(), alpha, sigma)
    for reduction, value in (("none", expected), ("sum", sum(expected)), ("mean", sum(expected) / b)):
        loss = form(d2, labels, alpha, sigma, measure, reduction)
        torch.testing.assert_close(loss, torch.tensor(value, dtype=torch.float64))


@pytest.mark.parametrize("form", [my_loss_code, my_loss_readme])
@pytest.mark.parametrize("measure", ["squared", "euclidean"])
def test_gradcheck(form, measure):
    d2 = (torch.rand(4, 4, 2, dtype=torch.float64) + 0.1).requires_grad_()
    labels = torch.tensor([0, 2, 1, 2])
    assert torch.autograd.gradcheck(lambda d: form(d, labels, 0.9, 0.6, measure), (d2,))


@pytest.mark.parametrize("form", [my_loss_code, my_loss_readme])
def test_on_a_representative_the_gradient_is_finite(form):
    d2 = torch.zeros(2, 2, 1).requires_grad_()
    form(d2, torch.tensor([0, 1]), measure="euclidean").backward()
    assert d2.grad.isfinite().all()


def test_a_batch_of_one_class_has_no_other():
    d2, labels = torch.rand(3, 2, 2), torch.zeros(3, dtype=torch.long)
    assert my_loss_code(d2, labels).item() == 0


def test_the_forms_differ():
    assert not torch.allclose(my_loss_code(D2, LABELS), my_loss_readme(D2, LABELS))
    assert math.isfinite(my_loss_readme(D2, LABELS, measure="euclidean"))


@pytest.mark.parametrize("form", [my_loss_code, my_loss_readme])
@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        ([0, 1], {}, r"not \(3, 3, 2\) and \(2,\)"),
        ([0, 1, 3], {}, r"0\.\.2, not 0\.\.3"),
        ([0, 1, 2], {"sigma": -1.0}, "sigma .* must be positive, not -1"),
        ([0, 1, 2], {"measure": "cosine"}, "squared, euclidean, not 'cosine'"),
        ([0, 1, 2], {"reduction": "median"}, "not 'median'"),
    ],
)
def test_bad_arguments(form, labels, arguments, message):
    with pytest.raises(ValueError, match=message):
        form(D2, torch.tensor(labels), **arguments)
