"""The head's distances, posteriors and margin loss against hand-made vectors and against naive loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.representatives import (
    Representatives,
    background,
    margin_loss,
    posterior,
    reduce,
    soft_log_posterior,
    soft_posterior,
    squared_distances,
)

# Three classes of two modes in the plane, and an embedding of each class.
POINTS = torch.tensor([[[0, 0], [0, 1]], [[2, 0], [2, 1]], [[0, 3], [1, 3]]], dtype=torch.float64)  # (N, K, e)
EMBEDDINGS = torch.tensor([[0.5, 0.5], [1, 0.2], [0.5, 2]], dtype=torch.float64)  # (B, e)
LABELS = torch.tensor([0, 1, 2])


def unit(*shape, **kwargs):
    return F.normalize(torch.randn(*shape, **kwargs), dim=-1)


def naive_distances(embeddings, points):
    """(B, e), (N, K, e) -> nested lists, by the definition."""
    return [
        [[sum((a - b) ** 2 for a, b in zip(e, r, strict=True)) for r in modes] for modes in points.tolist()]
        for e in embeddings.tolist()
    ]


def naive_margin(d2, label, margin):
    nearest = min(d2[label])
    other = min((d for c, modes in enumerate(d2) if c != label for d in modes), default=math.inf)
    return max(0.0, nearest - other + margin)


# --- the vectors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("margin", "expected"), [(1.0, [0, 1, 1]), (0.5, [0, 0.5, 0.5])])
def test_margin_loss_of_the_vectors(margin, expected):
    d2 = squared_distances(EMBEDDINGS, POINTS)
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(margin_loss(d2, LABELS, margin, reduction="none"), expected)
    torch.testing.assert_close(margin_loss(d2, LABELS, margin), expected.mean())
    torch.testing.assert_close(margin_loss(d2, LABELS, margin, reduction="sum"), expected.sum())


def test_posteriors_of_the_vectors():
    d2 = squared_distances(EMBEDDINGS, POINTS)
    hard = [[0.367879, 0.006738, 2.26e-6], [0.124930, 0.124930, 1.55e-7], [0.082085, 0.001503, 0.082085]]
    soft = [[0.982008, 0.017986, 6.03e-6], [0.5, 0.5, 5.4e-7], [0.331854, 0.006078, 0.662068]]
    close = {"rtol": 5e-3, "atol": 1e-6}  # the small ones are given to three digits
    torch.testing.assert_close(posterior(d2), torch.tensor(hard, dtype=torch.float64), **close)
    torch.testing.assert_close(soft_posterior(d2), torch.tensor(soft, dtype=torch.float64), **close)
    other = torch.tensor([0.632121, 0.875070, 0.917915], dtype=torch.float64)
    torch.testing.assert_close(background(d2), other, rtol=0, atol=1e-6)


def test_the_first_of_tied_classes_is_taken():
    hard = posterior(squared_distances(EMBEDDINGS, POINTS))
    assert hard[1, 0] == hard[1, 1] and hard[1].argmax() == 0


def test_sigma_is_a_standard_deviation():
    d2 = torch.tensor([[[0.3]]], dtype=torch.float64)
    for sigma in (0.2, 0.5, 2.0):
        assert posterior(d2, sigma).item() == pytest.approx(math.exp(-0.3 / (2 * sigma * sigma)), rel=1e-12)
    assert posterior(d2).item() == pytest.approx(math.exp(-2 * 0.3), rel=1e-12)  # the published 0.5


# --- naive loops over random cases -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("b", "n", "k", "e"), [(1, 1, 1, 1), (4, 3, 2, 5), (7, 5, 1, 3), (3, 1, 4, 2), (16, 6, 3, 8)])
@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.3])
def test_everything_equals_naive_loops(b, n, k, e, sigma):
    embeddings = torch.randn(b, e, dtype=torch.float64)
    points = torch.randn(n, k, e, dtype=torch.float64)
    labels = torch.randint(n, (b,))
    margin = 0.7
    expected = naive_distances(embeddings, points)
    d2 = squared_distances(embeddings, points)
    torch.testing.assert_close(d2, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)

    kernel = [[[math.exp(-d / (2 * sigma**2)) for d in modes] for modes in row] for row in expected]
    hard = [[max(modes) for modes in row] for row in kernel]
    torch.testing.assert_close(posterior(d2, sigma), torch.tensor(hard, dtype=torch.float64))
    torch.testing.assert_close(background(d2, sigma), torch.tensor([1 - max(h) for h in hard], dtype=torch.float64))
    soft = [[sum(modes) / sum(map(sum, row)) for modes in row] for row in kernel]
    torch.testing.assert_close(soft_posterior(d2, sigma), torch.tensor(soft, dtype=torch.float64))
    margins = [naive_margin(row, y, margin) for row, y in zip(expected, labels.tolist(), strict=True)]
    expected_losses = torch.tensor(margins, dtype=torch.float64)
    torch.testing.assert_close(margin_loss(d2, labels, margin, reduction="none"), expected_losses)
    torch.testing.assert_close(margin_loss(d2, labels, margin), expected_losses.mean())


@pytest.mark.parametrize(
    ("left", "right"), [((2, 4), (2,)), ((2, 4), ()), ((4,), (3,)), ((5, 1, 4), (2,)), ((3, 2, 4), (3, 2))]
)
def test_leading_dimensions_are_episodes_of_their_own(left, right):
    """`left` ends with B; leading dimensions broadcast."""
    embeddings = torch.randn(*left, 6, dtype=torch.float64)
    points = torch.randn(*right, 3, 2, 6, dtype=torch.float64)
    d2 = squared_distances(embeddings, points)
    lead = torch.broadcast_shapes(left[:-1], right)
    assert d2.shape == (*lead, left[-1], 3, 2)
    every_e = embeddings.expand(*lead, left[-1], 6).reshape(-1, left[-1], 6)
    every_r = points.expand(*lead, 3, 2, 6).reshape(-1, 3, 2, 6)
    for got, e, r in zip(d2.reshape(-1, left[-1], 3, 2), every_e, every_r, strict=True):
        torch.testing.assert_close(got, torch.tensor(naive_distances(e, r), dtype=torch.float64))
    for function, shape in ((posterior, (3,)), (soft_posterior, (3,)), (background, ())):
        whole = function(d2)
        assert whole.shape == (*lead, left[-1], *shape)
        apart = [function(row) for row in d2.reshape(-1, 3, 2)[:, None]]
        torch.testing.assert_close(whole.reshape(-1, *shape), torch.cat(apart))


# --- numbers ---------------------------------------------------------------------------------------------------------------


def test_distances_are_never_negative():
    points = unit(50, 2, 256) * 3
    embeddings = points.flatten(0, 1)
    d2 = squared_distances(embeddings, points)
    gram = embeddings.square().sum(-1)[:, None] + embeddings.square().sum(-1) - 2 * embeddings @ embeddings.T
    assert gram.min() < 0, "this case would not show a missing clamp"
    assert d2.min() == 0 and d2.flatten(1).diagonal().max() < 1e-4


def test_half_precision_embeddings_keep_exact_distances():
    embeddings, points = unit(64, 256).bfloat16(), unit(5, 3, 256)
    exact = (embeddings.double()[:, None, None] - points.double()).square().sum(-1)
    d2 = squared_distances(embeddings, points)
    assert d2.dtype == torch.float32
    torch.testing.assert_close(d2.double(), exact, rtol=0, atol=1e-5)


def test_autocast_does_not_touch_the_distances():
    head = Representatives(5, 3, 256, normalize=True)
    layer = torch.nn.Linear(32, 256)
    inputs = torch.randn(64, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = layer(inputs)
        assert hidden.dtype == torch.bfloat16
        embeddings = F.normalize(hidden, dim=-1)
        d2 = head(embeddings)
        loss = margin_loss(d2, torch.randint(5, (64,))) + background(d2).mean() + soft_posterior(d2).std()
    exact = (embeddings.double()[:, None, None] - head.points.double()).square().sum(-1)
    assert d2.dtype == torch.float32 and loss.dtype == torch.float32
    torch.testing.assert_close(d2.double(), exact, rtol=0, atol=1e-5)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in (head.weight, layer.weight))


def test_double_stays_double():
    assert squared_distances(torch.randn(2, 3).double(), torch.randn(2, 1, 3)).dtype == torch.float64


def test_soft_posterior_does_not_underflow_far_from_all_modes():
    d2 = torch.full((1, 3, 2), 1e4)
    d2[0, 1] = 1e4 - 1
    soft = soft_posterior(d2)
    assert posterior(d2).max() == 0  # which the hard one does
    torch.testing.assert_close(soft, torch.tensor([[1.0, math.exp(2), 1.0]]) / (2 + math.exp(2)), rtol=2e-3, atol=0)


def test_the_logarithm_of_the_soft_posterior():
    d2 = torch.rand(5, 3, 2) * 3
    torch.testing.assert_close(soft_log_posterior(d2, 0.7).exp(), soft_posterior(d2, 0.7))
    d2 = torch.tensor([[[0.0], [1e4]]])
    torch.testing.assert_close(soft_log_posterior(d2), torch.tensor([[0.0, -2e4]]))


def test_reduce():
    losses = torch.rand(2, 3)
    assert reduce(losses, "none") is losses
    torch.testing.assert_close(reduce(losses, "mean"), losses.mean())
    torch.testing.assert_close(reduce(losses, "sum"), losses.sum())
    assert reduce(torch.zeros(0), "mean") == 0


# --- gradients -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("function", [posterior, background, soft_posterior, soft_log_posterior, margin_loss])
def test_gradcheck(function, normalize):
    embeddings = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 1])

    def value(e, w):
        d2 = squared_distances(e, F.normalize(w, dim=-1) if normalize else w)
        return function(d2, labels, 5.0) if function is margin_loss else function(d2, 0.9)

    assert torch.autograd.gradcheck(value, (embeddings, weight))


def test_normalisation_is_in_the_graph():
    head = Representatives(4, 3, 8, normalize=True)
    assert (head.weight.norm(dim=-1) - 1).abs().min() > 1e-3, "unit weights would prove nothing"
    torch.testing.assert_close(head.points.norm(dim=-1), torch.ones(4, 3))
    embeddings = unit(6, 8)
    d2 = head(embeddings)
    cosine = torch.einsum("be,nke->bnk", embeddings, head.points)
    torch.testing.assert_close(d2, 2 - 2 * cosine)
    (d2 * torch.rand_like(d2)).sum().backward()
    # a length that the distances do not see gets no gradient
    along = (head.weight.grad * head.weight).sum(-1) / head.weight.norm(dim=-1)
    assert head.weight.grad.norm(dim=-1).min() > 1e-3 and along.abs().max() < 1e-5
    free = Representatives(4, 3, 8)
    assert free.points is free.weight


# --- edges and errors ------------------------------------------------------------------------------------------------------


def test_an_empty_batch():
    head = Representatives(3, 2, 4)
    embeddings = torch.zeros(0, 4, requires_grad=True)
    d2 = head(embeddings)
    assert d2.shape == (0, 3, 2)
    assert posterior(d2).shape == (0, 3) and soft_posterior(d2).shape == (0, 3) and background(d2).shape == (0,)
    labels = torch.zeros(0, dtype=torch.long)
    assert margin_loss(d2, labels, reduction="none").shape == (0,)
    loss = margin_loss(d2, labels)
    loss.backward()
    assert loss.item() == 0 and head.weight.grad.abs().sum() == 0


def test_a_single_class_has_nothing_to_keep_away_from():
    head = Representatives(1, 3, 4)
    d2 = head(torch.randn(5, 4))
    loss = margin_loss(d2, torch.zeros(5, dtype=torch.long), margin=2.0)
    loss.backward()
    assert loss.item() == 0 and head.weight.grad.abs().sum() == 0
    torch.testing.assert_close(soft_posterior(d2), torch.ones(5, 1))


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-2, 1, 1)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match=r"sizes >= 1, not {} x {} x {}".format(*sizes)):
        Representatives(*sizes)


@pytest.mark.parametrize(("e", "r"), [((4,), (2, 1, 4)), ((3, 4), (2, 4)), ((3, 4), (2, 1, 5))])
def test_shapes_that_do_not_fit_are_refused(e, r):
    with pytest.raises(ValueError, match=rf"not \({e[0]},.*\) and \({r[0]},"):
        squared_distances(torch.zeros(*e), torch.zeros(*r))


@pytest.mark.parametrize("function", [posterior, background, soft_posterior, soft_log_posterior])
@pytest.mark.parametrize("sigma", [0, -0.5])
def test_sigma_must_be_positive(function, sigma):
    with pytest.raises(ValueError, match=f"must be positive, not {sigma}"):
        function(torch.zeros(1, 2, 1), sigma)


@pytest.mark.parametrize(
    ("labels", "reduction", "message"),
    [
        ([0, 3], "mean", r"0\.\.2, not 0\.\.3"),
        ([-1, 0], "mean", r"0\.\.2, not -1\.\.0"),
        ([0, 1, 2], "mean", r"not \(2, 3, 2\) and \(3,\)"),
        ([[0, 1]], "mean", r"not \(2, 3, 2\) and \(1, 2\)"),
        ([0, 1], "avg", "not 'avg'"),
    ],
)
def test_margin_loss_refuses(labels, reduction, message):
    with pytest.raises(ValueError, match=message):
        margin_loss(torch.zeros(2, 3, 2), torch.tensor(labels), reduction=reduction)


def test_margin_loss_refuses_distances_without_modes():
    with pytest.raises(ValueError, match=r"d2 \(B, N, K\)"):
        margin_loss(torch.zeros(2, 3), torch.tensor([0, 1]))
