"""RepMet's classification losses against hand-made vectors and naive loops."""

import math

import pytest
import torch

from repmet.model_definitions.losses.repmet import (
    LOSSES,
    RepMetLoss,
    cross_entropy,
    repmet_cvpr,
    repmet_v1,
    repmet_v2,
    repmet_v3,
)
from repmet.model_definitions.representatives import margin_loss, squared_distances

POINTS = torch.tensor([[[0, 0], [0, 1]], [[2, 0], [2, 1]], [[0, 3], [1, 3]]], dtype=torch.float64)  # (N, K, e)
EMBEDDINGS = torch.tensor([[0.5, 0.5], [1, 0.2], [0.5, 2]], dtype=torch.float64)  # (B, e)
LABELS = torch.tensor([0, 1, 2])
D2 = squared_distances(EMBEDDINGS, POINTS)

NAMES = ["v1", "v2", "v3", "cvpr"]


def naive(name, row, label, alpha, sigma):
    w = [[math.exp(-d / (2 * sigma**2)) for d in modes] for modes in row]
    others = sum(sum(modes) for c, modes in enumerate(w) if c != label)
    if name == "v1":
        return max(0.0, -math.log(max(w[label]) / others) + alpha)
    if name == "v3":
        return max(0.0, -math.log(sum(w[label]) / others) + alpha)
    entropy = -math.log(sum(w[label]) / (others + sum(w[label])))
    if name == "v2":
        return max(0.0, entropy + alpha)
    nearest = [min(modes) for modes in row]
    return entropy + max(0.0, nearest[label] - min(d for c, d in enumerate(nearest) if c != label) + alpha)


@pytest.mark.parametrize(
    ("loss", "expected", "mean"),
    [
        (repmet_v1, [0, 1.263284, 1.020626], 0.761303),
        (repmet_v2, [1.018156, 1.693148, 1.412388], 1.374564),
        (repmet_v3, [0, 1.000001, 0.327478], 0.442493),
    ],
)
def test_the_vectors(loss, expected, mean):
    torch.testing.assert_close(loss(D2, LABELS, reduction="none"), torch.tensor(expected).double(), rtol=0, atol=1e-6)
    assert loss(D2, LABELS).item() == pytest.approx(mean, abs=1e-6)


def test_the_published_loss_is_cross_entropy_and_margin():
    posterior = torch.tensor([0.982008, 0.5, 0.662068]).double()  # of the true classes
    margin = torch.tensor([0, 0.5, 0.5]).double()
    losses = repmet_cvpr(D2, LABELS, margin=0.5, reduction="none")
    torch.testing.assert_close(losses, margin - posterior.log(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("b", "n", "k"), [(1, 2, 1), (4, 3, 2), (7, 5, 3)])
@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.5), (0.0, 1.3), (2.5, 0.3)])
def test_naive_loops(name, b, n, k, alpha, sigma):
    d2 = torch.rand(b, n, k, dtype=torch.float64) * 3
    labels = torch.randint(n, (b,))
    expected = [naive(name, row, y, alpha, sigma) for row, y in zip(d2.tolist(), labels.tolist(), strict=True)]
    for reduction, value in (("none", expected), ("sum", sum(expected)), ("mean", sum(expected) / b)):
        loss = LOSSES[name](d2, labels, alpha, sigma, reduction)
        torch.testing.assert_close(loss, torch.tensor(value, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name):
    d2 = torch.rand(4, 3, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 1, 2])
    assert torch.autograd.gradcheck(lambda d: LOSSES[name](d, labels, 4.0, 0.6), (d2,))


@pytest.mark.parametrize("name", NAMES)
def test_far_from_everything_there_is_still_a_gradient(name):
    d2 = torch.full((2, 3, 2), 1e4).requires_grad_()
    loss = LOSSES[name](d2, torch.tensor([0, 1]))
    loss.backward()
    assert loss.isfinite() and d2.grad.isfinite().all()
    assert d2.grad[0, 0].sum() > 0 and d2.grad[0, 1:].sum() < 0  # towards the own class, away from the others


@pytest.mark.parametrize(("name", "expected"), [("v1", 0), ("v2", 1), ("v3", 0), ("cvpr", 0)])
def test_a_single_class(name, expected):
    d2 = torch.rand(3, 1, 2).requires_grad_()
    loss = LOSSES[name](d2, torch.zeros(3, dtype=torch.long))
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6) and d2.grad.abs().max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch(name):
    d2, labels = torch.zeros(0, 3, 2), torch.zeros(0, dtype=torch.long)
    assert LOSSES[name](d2, labels).item() == 0 and LOSSES[name](d2, labels, reduction="none").shape == (0,)


def test_v2_is_the_cross_entropy_with_a_constant():
    torch.testing.assert_close(repmet_v2(D2, LABELS, alpha=1.0), 1 + cross_entropy(D2, LABELS))


def test_one_mode_makes_v1_and_v3_alike():
    d2, labels = torch.rand(5, 4, 1), torch.tensor([0, 1, 2, 3, 0])
    torch.testing.assert_close(repmet_v1(d2, labels), repmet_v3(d2, labels))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "labels", "arguments", "message"),
    [
        ((3, 2), [0, 1, 1], {}, r"not \(3, 2\) and \(3,\)"),
        ((3, 2, 1), [0, 1], {}, r"not \(3, 2, 1\) and \(2,\)"),
        ((3, 2, 1), [0, 1, 2], {}, r"0\.\.1, not 0\.\.2"),
        ((2, 2, 1), [0, 1], {"sigma": 0.0}, "sigma .* must be positive, not 0"),
        ((2, 2, 1), [0, 1], {"reduction": "median"}, "not 'median'"),
    ],
)
def test_bad_arguments(name, shape, labels, arguments, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name](torch.zeros(shape), torch.tensor(labels), **arguments)


# --- by name ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_by_name_is_the_function(name):
    loss = RepMetLoss(name, reduction="none")
    assert torch.equal(loss(D2, LABELS), LOSSES[name](D2, LABELS, reduction="none"))
    assert name in repr(loss)


def test_arguments_go_to_the_loss():
    assert torch.equal(RepMetLoss("v1", alpha=3.0, sigma=0.7)(D2, LABELS), repmet_v1(D2, LABELS, 3.0, 0.7))
    assert torch.equal(RepMetLoss("margin", margin=0.2)(D2, LABELS), margin_loss(D2, LABELS, 0.2))
    assert torch.equal(RepMetLoss()(D2, LABELS), repmet_cvpr(D2, LABELS))


def test_unknown_names_and_arguments():
    with pytest.raises(ValueError, match="no loss 'v4'; there are v1, v2, v3, cvpr"):
        RepMetLoss("v4")
    with pytest.raises(ValueError, match="the loss v1 has no margin; it has alpha, sigma, reduction"):
        RepMetLoss("v1", margin=0.5)


def test_a_negative_alpha_stops_where_the_class_is_likely_enough():
    """`[alpha + CE]_+` is not alpha plus the cross-entropy where the cross-entropy is less than -alpha."""
    d2 = squared_distances(EMBEDDINGS, POINTS)
    each = cross_entropy(d2, LABELS, reduction="none")
    alpha = -each.median().item()
    losses = LOSSES["v2"](d2, LABELS, alpha=alpha, reduction="none")
    assert losses.tolist() == pytest.approx([max(0.0, value + alpha) for value in each.tolist()]) and (losses == 0).any()


def test_the_defaults():
    d2 = squared_distances(EMBEDDINGS, POINTS)
    assert torch.equal(margin_loss(d2, LABELS), margin_loss(d2, LABELS, margin=0.5))
    assert torch.equal(repmet_cvpr(d2, LABELS), repmet_cvpr(d2, LABELS, margin=1.0, sigma=0.5))
    assert torch.equal(LOSSES["v2"](d2, LABELS), LOSSES["v2"](d2, LABELS, alpha=1.0, sigma=0.5))
