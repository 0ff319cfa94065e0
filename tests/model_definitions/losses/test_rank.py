"""The rank loss against the logistic loss on the triples, over all of them, and far out."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.losses.rank import RankLoss, draw_triplets

K = 5


def made() -> tuple[torch.Tensor, torch.Tensor]:
    D = torch.rand(K, K, dtype=torch.double)
    return torch.randn(K, 3, dtype=torch.double), D + D.T


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_given_triples(distance):
    P, D = made()
    triples = torch.tensor(list(itertools.permutations(range(K), 3)))
    d = torch.cdist(P, P) if distance == "euclidean" else 1 - F.normalize(P, dim=1) @ F.normalize(P, dim=1).T
    values = []
    for i, j, k in triples.tolist():
        x, t = (d[i, j] - d[i, k]).item(), float(D[i, j] > D[i, k])
        values.append(-(t * np.log(1 / (1 + np.exp(-x))) + (1 - t) * np.log(1 / (1 + np.exp(x)))))
    assert RankLoss(D, 10, distance)(P, triples).item() == pytest.approx(np.mean(values))
    # the mean over many random triples is that over all
    drawn = RankLoss(D, 200_000, distance)(P, generator=torch.Generator().manual_seed(0)).item()
    assert drawn == pytest.approx(np.mean(values), abs=4 * np.std(values) / 200_000**0.5)


def test_all_triples_are_drawn_alike():
    triples = draw_triplets(K, 60_000, torch.Generator().manual_seed(1))
    counts = np.unique(triples.numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == K * (K - 1) * (K - 2)  # all are different classes, and none is missing
    expected = 60_000 / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 59 + 5 * (2 * 59) ** 0.5  # chi-square, 5 deviations
    first, again = (draw_triplets(K, 9, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, again)


def test_equal_costs_count_as_not_greater():
    D = torch.ones(3, 3)
    P = torch.tensor([[0.0], [1.0], [3.0]])
    assert RankLoss(D)(P, torch.tensor([[0, 2, 1]])).item() == pytest.approx(float(F.softplus(torch.tensor(2.0))))


@pytest.mark.parametrize("sign", [1, -1])
def test_far_out(sign):
    P = torch.tensor([[0.0], [1.0], [1e4]], dtype=torch.double, requires_grad=True)
    D = torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    triple = torch.tensor([[0, 2, 1] if sign > 0 else [0, 1, 2]])
    loss = RankLoss(3 - D if sign > 0 else D)(P, triple)
    loss.backward()
    assert P.grad.isfinite().all()
    assert loss.item() == pytest.approx(9999 if sign > 0 else 0)


def test_gradcheck():
    P, D = made()
    triples = draw_triplets(K, 20)
    assert torch.autograd.gradcheck(lambda p: RankLoss(D)(p, triples), P.requires_grad_())


def test_bad_input():
    with pytest.raises(ValueError, match="of 2 classes are too few"):
        RankLoss(torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"prototypes \(4, d\), not \(3, 2\)"):
        RankLoss(torch.ones(4, 4))(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="not 'cos'"):
        RankLoss(torch.ones(3, 3), distance="cos")
