"""Magnet loss and its nearest-cluster posterior against hand-made vectors and naive loops."""

import math

import pytest
import torch

from repmet.model_definitions.losses.magnet import knc, magnet_loss
from repmet.model_definitions.representatives import soft_posterior

BATCH = torch.tensor([[[0, 0], [2, 0]], [[1, 1], [3, 1]], [[0, 2], [2, 3]]], dtype=torch.float64)  # (M, D, e)
CLASSES = torch.tensor([0, 1, 0])


def naive(batch, classes, alpha):
    """Per-sample losses and the variance, by the definition."""
    square = lambda a, b: sum((x - y) ** 2 for x, y in zip(a, b, strict=True))  # noqa: E731
    means = [[sum(column) / len(cluster) for column in zip(*cluster, strict=True)] for cluster in batch]
    number = sum(len(cluster) for cluster in batch)
    sigma2 = sum(square(r, mean) for cluster, mean in zip(batch, means, strict=True) for r in cluster) / (number - 1)
    losses = []
    for m, cluster in enumerate(batch):
        row = []
        for r in cluster:
            others = [math.exp(-square(r, mean) / (2 * sigma2)) for i, mean in enumerate(means) if classes[i] != classes[m]]
            numerator = math.exp(-square(r, means[m]) / (2 * sigma2) - alpha)
            row.append(max(0.0, -math.log(numerator / sum(others))) if others else 0.0)
        losses.append(row)
    return losses, sigma2


def test_the_vectors():
    losses, sigma2 = magnet_loss(BATCH, CLASSES, reduction="none")
    assert sigma2.item() == pytest.approx(1.3)
    expected = torch.tensor([[0, 1], [1.481381, 0], [0, 0]], dtype=torch.float64)
    torch.testing.assert_close(losses, expected, rtol=0, atol=1e-6)
    assert magnet_loss(BATCH, CLASSES)[0].item() == pytest.approx(0.4135635, abs=1e-7)
    assert magnet_loss(BATCH, CLASSES, reduction="sum")[0].item() == pytest.approx(6 * 0.4135635, abs=1e-6)


def test_other_clusters_of_the_own_class_do_not_count():
    apart, _ = magnet_loss(BATCH, torch.tensor([0, 1, 2]), reduction="none")
    together, _ = magnet_loss(BATCH, CLASSES, reduction="none")
    assert (apart > together).any() and (apart >= together).all()


@pytest.mark.parametrize(("clusters", "per_cluster", "dim"), [(2, 2, 1), (3, 2, 4), (5, 4, 3), (12, 4, 8)])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 7.18])
def test_naive_loops(clusters, per_cluster, dim, alpha):
    batch = torch.randn(clusters, per_cluster, dim, dtype=torch.float64)
    classes = torch.randint(3, (clusters,))
    losses, sigma2 = magnet_loss(batch, classes, alpha, reduction="none")
    expected, variance = naive(batch.tolist(), classes.tolist(), alpha)
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))
    assert sigma2.item() == pytest.approx(variance)


def test_gradcheck_through_means_and_variance():
    batch = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: magnet_loss(r, CLASSES, alpha=3.0)[0], (batch,))


def test_the_variance_has_no_gradient():
    batch = BATCH.clone().requires_grad_()
    loss, sigma2 = magnet_loss(batch, CLASSES)
    assert loss.requires_grad and not sigma2.requires_grad


def test_one_class_has_no_impostor():
    batch = BATCH.clone().requires_grad_()
    losses, _ = magnet_loss(batch, torch.zeros(3, dtype=torch.long), reduction="none")
    assert torch.equal(losses, torch.zeros(3, 2, dtype=torch.float64))
    losses.sum().backward()
    assert torch.equal(batch.grad, torch.zeros_like(batch))


@pytest.mark.parametrize("spread", [0.0, 1e-12])
def test_a_collapsed_batch_stays_finite(spread):
    batch = (torch.ones(3, 2, 4) + spread * torch.randn(3, 2, 4)).requires_grad_()
    losses, sigma2 = magnet_loss(batch, CLASSES, reduction="none")
    losses.sum().backward()
    assert sigma2 > 0 and losses.isfinite().all() and batch.grad.isfinite().all()


def test_half_precision_is_computed_in_single():
    batch = torch.randn(4, 3, 16).half()
    classes = torch.tensor([0, 0, 1, 2])
    loss, sigma2 = magnet_loss(batch, classes)
    assert loss.dtype == sigma2.dtype == torch.float32
    torch.testing.assert_close(loss, magnet_loss(batch.float(), classes)[0])


@pytest.mark.parametrize(
    ("batch", "classes", "message"),
    [
        ((3, 2), (3,), r"not \(3, 2\) and \(3,\)"),
        ((3, 2, 4), (2,), r"not \(3, 2, 4\) and \(2,\)"),
        ((3, 1, 4), (3,), "at least 2 samples of it, not 1"),
    ],
)
def test_bad_shapes(batch, classes, message):
    with pytest.raises(ValueError, match=message):
        magnet_loss(torch.zeros(batch), torch.zeros(classes, dtype=torch.long))


def test_unknown_reduction():
    with pytest.raises(ValueError, match="not 'median'"):
        magnet_loss(BATCH, CLASSES, reduction="median")


# --- the k-nearest-cluster posterior ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nearest", "expected"), [(1, [0, 1]), (2, [0.423678, 0.576322]), (3, [0.583834, 0.416166]), (128, [0.583834, 0.416166])]
)
def test_knc_of_the_vectors(nearest, expected):
    # two clusters of class 0, one of class 1, whose second is not there
    d2 = torch.tensor([[[1.48, 1.73], [0.68, torch.inf]]], dtype=torch.float64)
    expected = torch.tensor([expected], dtype=torch.float64)
    torch.testing.assert_close(knc(d2, 1.3, nearest), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(knc(d2, torch.tensor(1.3), nearest), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("b", "n", "k", "nearest"), [(1, 2, 1, 1), (4, 3, 2, 4), (6, 5, 3, 7), (3, 1, 4, 2)])
def test_knc_by_naive_loops(b, n, k, nearest):
    d2 = torch.rand(b, n, k, dtype=torch.float64) * 3
    posterior = knc(d2, 0.4, nearest)
    for row, probabilities in zip(d2.tolist(), posterior.tolist(), strict=True):
        near = sorted((d, c) for c, modes in enumerate(row) for d in modes)[:nearest]
        total = sum(math.exp(-d / 0.8) for d, _ in near)
        assert probabilities == pytest.approx([sum(math.exp(-d / 0.8) for d, i in near if i == c) / total for c in range(n)])


def test_knc_over_all_clusters_is_the_soft_posterior():
    d2 = torch.rand(5, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(knc(d2, 0.5**2), soft_posterior(d2, 0.5))


def test_knc_far_from_every_cluster():
    d2 = 1e4 + torch.rand(2, 3, 2)
    posterior = knc(d2, 0.1)
    torch.testing.assert_close(posterior.sum(-1), torch.ones(2))


@pytest.mark.parametrize(
    ("d2", "sigma2", "nearest", "message"),
    [
        ((2, 3), 1.0, 1, r"\(B, N, K\), not \(2, 3\)"),
        ((2, 3, 1), 0.0, 1, "variance > 0 .* not 0.0 and 1"),
        ((2, 3, 1), math.nan, 1, "variance > 0 .* not nan and 1"),
        ((2, 3, 1), 1.0, 0, "at least 1 nearest cluster, not 1.0 and 0"),
    ],
)
def test_knc_refuses(d2, sigma2, nearest, message):
    with pytest.raises(ValueError, match=message):
        knc(torch.zeros(d2), sigma2, nearest)
