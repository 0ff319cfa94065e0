"""The Prototypical Networks' loss against the hand-made episode, naive loops and the shared class means."""

import math

import pytest
import torch

from repmet.model_definitions.episode import class_means
from repmet.model_definitions.losses.prototypical import prototypical_log_probabilities, prototypical_loss

SUPPORT = torch.tensor([[0, 0], [0, 2], [3, 0], [5, 0]], dtype=torch.float64)  # two classes of two shots
QUERY = torch.tensor([[0, 1], [1, 1], [4, 0], [2, 0]], dtype=torch.float64)


def naive(support, query, way, distance):
    """Log-probabilities as nested lists, by eq. 1 and 2."""
    shot = len(support) // way
    prototypes = [
        [sum(column) / shot for column in zip(*support[c * shot : (c + 1) * shot], strict=True)] for c in range(way)
    ]
    rows = []
    for q in query:
        if distance == "cosine":

            def d(p, q=q):
                dot = sum(a * b for a, b in zip(q, p, strict=True))
                return 1 - dot / (math.hypot(*q) * math.hypot(*p))
        else:

            def d(p, q=q):
                return sum((a - b) ** 2 for a, b in zip(q, p, strict=True))

        exponents = [math.exp(-d(p)) for p in prototypes]
        rows.append([math.log(x / sum(exponents)) for x in exponents])
    return rows


def test_the_vectors():
    loss, log_probabilities = prototypical_loss(SUPPORT, QUERY, 2)
    assert loss.item() == pytest.approx(0.0783463, abs=1e-7)
    assert log_probabilities.argmax(-1).tolist() == [0, 0, 1, 1]
    d2 = torch.tensor([[0, 17], [1, 10], [17, 0], [5, 4]], dtype=torch.float64)
    torch.testing.assert_close(log_probabilities, torch.log_softmax(-d2, -1))


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
@pytest.mark.parametrize(("way", "shot", "queries", "dim"), [(2, 1, 1, 2), (5, 1, 3, 4), (3, 5, 1, 7), (6, 2, 4, 1)])
def test_naive_loops(way, shot, queries, dim, distance):
    support = torch.randn(way * shot, dim, dtype=torch.float64)
    query = torch.randn(way * queries, dim, dtype=torch.float64)
    loss, log_probabilities = prototypical_loss(support, query, way, distance)
    expected = naive(support.tolist(), query.tolist(), way, distance)
    torch.testing.assert_close(log_probabilities, torch.tensor(expected, dtype=torch.float64))
    true = [row[i // queries] for i, row in enumerate(expected)]
    assert loss.item() == pytest.approx(-sum(true) / len(true))


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
def test_one_query_a_class_is_not_special(distance):
    """Repeating every query changes neither the loss nor a probability."""
    support, query = torch.randn(10, 4), torch.randn(5, 4)
    loss_once, once = prototypical_loss(support, query, 5, distance)
    loss_thrice, thrice = prototypical_loss(support, query.repeat_interleave(3, 0), 5, distance)
    assert once.shape == (5, 5)
    torch.testing.assert_close(loss_once, loss_thrice)
    torch.testing.assert_close(once.repeat_interleave(3, 0), thrice)


def test_prototypes_are_the_class_means_of_episodes():
    support, query = torch.randn(12, 3), torch.randn(7, 3)
    means = class_means(support, torch.arange(4).repeat_interleave(3), 4)
    d2 = (query[:, None] - means[:, 0]).square().sum(-1)
    torch.testing.assert_close(prototypical_log_probabilities(support, query, 4), torch.log_softmax(-d2, -1))


def test_queries_need_no_order_for_their_probabilities():
    support, query = torch.randn(4, 3), torch.randn(5, 3)
    order = torch.randperm(5)
    every = prototypical_log_probabilities(support, query, 2)
    torch.testing.assert_close(prototypical_log_probabilities(support, query[order], 2), every[order])


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
def test_gradcheck(distance):
    support = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    query = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, q: prototypical_loss(s, q, 3, distance)[0], (support, query))


def test_half_precision_keeps_the_distances():
    support, query = torch.randn(10, 64).half(), torch.randn(10, 64).half()
    loss, log_probabilities = prototypical_loss(support, query, 5)
    assert loss.dtype == log_probabilities.dtype == torch.float32
    torch.testing.assert_close(loss, prototypical_loss(support.float(), query.float(), 5)[0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("support", "query", "way", "message"),
    [
        ((4, 3), (4, 3), 1, "at least 2 classes, not 1"),
        ((5, 3), (4, 3), 2, r"supports .* of 2 classes cannot have the shape \(5, 3\)"),
        ((0, 3), (4, 3), 2, r"supports .* cannot have the shape \(0, 3\)"),
        ((4,), (4, 3), 2, r"supports .* cannot have the shape \(4,\)"),
        ((4, 3), (5, 3), 2, r"queries .* of 2 classes cannot have the shape \(5, 3\)"),
        ((4, 3), (0, 3), 2, r"queries .* cannot have the shape \(0, 3\)"),
        ((4, 3), (4, 2), 2, "of the same e"),
    ],
)
def test_bad_shapes(support, query, way, message):
    with pytest.raises(ValueError, match=message):
        prototypical_loss(torch.zeros(support), torch.zeros(query), way)


def test_unknown_distance():
    with pytest.raises(ValueError, match="squared_euclidean, cosine, not 'euclidean'"):
        prototypical_loss(SUPPORT, QUERY, 2, "euclidean")
