"""Prototypes made of costs: exact where they can be, ordered, repeatable."""

import math

import pytest
import torch

from repmet.model_definitions.losses.hyperspherical import separation_loss
from repmet.model_definitions.losses.rank import RankLoss, draw_triplets
from repmet.model_definitions.prototypes import embed_costs, spread_on_sphere
from repmet.model_definitions.prototypes.embedding import classical_mds

LINE = (torch.arange(6.0)[:, None] - torch.arange(6.0)).abs()


@pytest.mark.parametrize("start", ["mds", "random"])
@pytest.mark.parametrize("dim", [5, 8])
def test_a_star(start, dim):
    star = 2.0 * (1 - torch.eye(6))
    embedding = embed_costs(star, dim, start=start)
    assert embedding.distortion < 1e-3 and embedding.prototypes.shape == (6, dim)
    torch.testing.assert_close(torch.cdist(embedding.prototypes, embedding.prototypes), star, rtol=1e-2, atol=5e-3)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("loss", ["distortion", "rank"])
def test_a_line_keeps_its_order(dim, loss):
    line = embed_costs(LINE, dim, loss, max_steps=150)
    first = line.prototypes[:, 0] if dim == 1 else line.prototypes @ torch.pca_lowrank(line.prototypes, 1)[2][:, 0]
    assert first.argsort().tolist() in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0])
    if loss == "distortion":
        assert line.distortion < 1e-3 and line.stress < 1e-6


def test_it_is_repeated_by_its_seed_and_lowers_what_it_minimises():
    D = torch.rand(8, 8)
    D = D + D.T
    once, again, other = (embed_costs(D, 2, start="random", seed=s) for s in (0, 0, 1))
    assert torch.equal(once.prototypes, again.prototypes) and not torch.equal(once.prototypes, other.prototypes)
    short = embed_costs(D, 2, start="random", max_steps=1)
    assert once.stress < short.stress and short.steps == 1
    triples = draw_triplets(8, 2000)
    ranks = RankLoss(D)
    ordered = embed_costs(D, 4, "rank", max_steps=60)
    start = embed_costs(D, 4, "rank", max_steps=1)
    assert ranks(ordered.prototypes, triples) < ranks(start.prototypes, triples)
    assert ordered.steps == 60


def test_mds_recovers_points():
    P = torch.randn(7, 3, dtype=torch.double)
    D = torch.cdist(P, P)
    for dim in (3, 5, 9):
        points = classical_mds(D, dim)
        assert points.shape == (7, dim)
        torch.testing.assert_close(torch.cdist(points, points), D)


@pytest.mark.parametrize(("number", "dim"), [(2, 2), (3, 2), (4, 3), (6, 5), (5, 8)])
def test_a_simplex_on_the_sphere(number, dim):
    embedding = spread_on_sphere(number, dim, max_steps=300)
    torch.testing.assert_close(embedding.prototypes.norm(dim=1), torch.ones(number))
    assert separation_loss(embedding.prototypes).item() == pytest.approx(-1 / (number - 1), abs=2e-3)
    assert embedding.distortion is None


def test_a_circle():
    embedding = spread_on_sphere(6, 2, max_steps=400, seed=1)
    assert separation_loss(embedding.prototypes).item() == pytest.approx(math.cos(2 * math.pi / 6), abs=5e-3)


def test_semantics_on_the_sphere():
    places = torch.arange(8.0)
    D = (places[:, None] - places).abs()
    triples = draw_triplets(8, 2000)
    with_costs, without = (spread_on_sphere(8, 3, costs, max_steps=100).prototypes for costs in (D, None))
    order = RankLoss(D, distance="cosine")
    assert order(with_costs, triples) < order(without, triples) - 0.05
    assert separation_loss(with_costs) < 0.75  # and they are still apart


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: embed_costs(LINE, 2, "disto"), "not 'disto' and 'mds'"),
        (lambda: embed_costs(LINE, 2, start="pca"), "not 'distortion' and 'pca'"),
        (lambda: embed_costs(LINE, 0), "at least 1, not 0 and 1000"),
        (lambda: embed_costs(LINE[:3], 2), "must be square"),
        (lambda: spread_on_sphere(1, 3), "at least 2 classes"),
        (lambda: spread_on_sphere(4, 3, LINE), "costs of 6 classes do not go with 4"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
