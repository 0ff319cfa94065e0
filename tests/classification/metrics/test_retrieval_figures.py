"""Figures by name against the functions that make them, naive loops and scikit-learn."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import entropy
from sklearn.metrics import pairwise_distances

from repmet.classification.metrics.embedding_statistics import class_distances, norm_quantile, spectrum_divergence
from repmet.classification.metrics.neighbour_classifiers import knn_accuracy
from repmet.classification.metrics.neighbour_distribution import neighbour_distribution_figures
from repmet.classification.metrics.retrieval_figures import KNOWN, is_fraction, lower_is_better, retrieval_figures


def data(n: int = 40, e: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    y = torch.arange(n) % 4
    return 3 * torch.randn(n, e) + 4 * torch.eye(e)[y], y


@pytest.mark.parametrize("block", (None, 70))
def test_neighbour_distributions_against_a_loop(block, monkeypatch):
    if block:
        monkeypatch.setattr("classification.metrics.retrieval._BLOCK", block)  # two queries at a time
    e, y = data(30)
    y[0] = 77  # alone in its class: it votes, and is not asked
    unit = F.normalize(e, dim=1).double()
    right, logs = [], []
    for i in range(1, len(e)):
        votes: dict[int, float] = {}
        for j in range(len(e)):
            if j != i:
                votes[int(y[j])] = votes.get(int(y[j]), 0) + math.exp(float(unit[i] @ unit[j]) / 0.1)
        p = votes.get(int(y[i]), 0.0) / sum(votes.values())
        right.append(max(votes, key=votes.get) == int(y[i]))
        logs.append(math.log(max(p, 1e-4)))
    figures = neighbour_distribution_figures(e, y)
    assert figures["NED accuracy"] == pytest.approx(np.mean(right))
    assert figures["NED loss"] == pytest.approx(-np.mean(logs), rel=1e-5)


def test_a_loss_has_a_ceiling_and_a_perfect_one_is_zero():
    y = torch.arange(12) % 3
    perfect = neighbour_distribution_figures(torch.eye(3)[y], y, temperature=0.01)
    assert perfect == {"NED accuracy": 1.0, "NED loss": pytest.approx(0, abs=1e-6)}
    wrong = neighbour_distribution_figures(torch.eye(3)[torch.arange(6) // 2], torch.arange(6) % 2, temperature=0.01)
    assert wrong == {"NED accuracy": 0.0, "NED loss": pytest.approx(-math.log(1e-4))}
    assert neighbour_distribution_figures(torch.ones(12, 3), y)["NED accuracy"] == 0
    with pytest.raises(ValueError, match="must be positive, not 0"):
        neighbour_distribution_figures(torch.eye(3)[y], y, temperature=0)
    with pytest.raises(ValueError, match="no class has two images"):
        neighbour_distribution_figures(torch.eye(3), torch.arange(3))


@pytest.mark.parametrize("metric", ("cosine", "euclidean"))
def test_distances_within_and_between_classes(metric):
    e, y = data()
    x = (F.normalize(e, dim=1) if metric == "cosine" else e).double().numpy()
    labels = y.numpy()
    within = [d for c in range(4) for d in pairwise_distances(x[labels == c])[np.triu_indices((labels == c).sum(), 1)]]
    means = pairwise_distances(np.stack([x[labels == c].mean(0) for c in range(4)]))[np.triu_indices(4, 1)]
    figures = class_distances(e, y, metric=metric)
    assert figures["intra-class distance"] == pytest.approx(np.mean(within))
    assert figures["inter-class distance"] == pytest.approx(np.mean(means))
    assert figures["intra/inter"] == pytest.approx(np.mean(within) / np.mean(means))
    assert all(math.isnan(v) for v in class_distances(e[:1], y[:1]).values())


def test_the_spectrum_and_norms():
    e, _ = data()
    values = np.linalg.svd(e.double().numpy(), compute_uv=False)
    expected = entropy(np.full(6, 1 / 6), values / values.sum())
    assert spectrum_divergence(e, metric="euclidean") == pytest.approx(expected)
    assert spectrum_divergence(torch.eye(5).repeat(3, 1)) == pytest.approx(0, abs=1e-12)
    wide = torch.randn(500, 8)
    flat = wide * torch.tensor([1.0] + [0.01] * 7)  # seven of eight directions are hardly used
    assert spectrum_divergence(wide, metric="euclidean") < 0.01 and spectrum_divergence(flat, metric="euclidean") > 1
    norms = e.double().norm(dim=1).numpy()
    for percent in (0, 12.5, 50, 100):
        assert norm_quantile(e, percent) == pytest.approx(np.percentile(norms, percent))
    with pytest.raises(ValueError, match="at 0 to 100 percent, not 101"):
        norm_quantile(e, 101)


def test_every_name_is_made():
    e, y = data()
    names = [n.replace("@K", "@3").replace("@PERCENT", "@25") for n in KNOWN]
    figures = retrieval_figures(e, y, names)
    assert list(figures) == names and all(math.isfinite(v) for v in figures.values())
    assert figures["kNN@3"] == knn_accuracy(e, y, k=3) and figures["norm@25"] == norm_quantile(e, 25)
    euclidean = retrieval_figures(e, y, ["Euclidean kNN@3", "Euclidean intra/inter", "Euclidean spectrum"])
    assert euclidean["Euclidean kNN@3"] == knn_accuracy(e, y, k=3, metric="euclidean")
    assert euclidean["Euclidean intra/inter"] == class_distances(e, y, metric="euclidean")["intra/inter"]
    assert {n for n in names if lower_is_better(n)} == {
        "AURC by norm", "AURC by cosine", "AURC by log-PPK", "intra-class distance", "intra/inter", "spectrum",
        "NED loss",
    }  # fmt: skip
    assert all(0 <= figures[n] <= 1 for n in names if is_fraction(n)) and is_fraction("Euclidean recall@1")
    assert [n for n in names if not is_fraction(n)] == [
        "NED loss", "intra-class distance", "inter-class distance", "intra/inter", "spectrum", "norm@25"
    ]  # fmt: skip
    assert lower_is_better("Euclidean intra/inter") and not lower_is_better("Euclidean recall@1")


@pytest.mark.parametrize(
    "name", ("recall@", "recall@K", "recal@1", "norm@half", "norm", "Euclidean NED accuracy", "AURC by t")
)
def test_unknown_names(name):
    with pytest.raises(ValueError, match=rf"no figure '{name}'; there are: recall@K, R-precision"):
        retrieval_figures(*data(), (name,))
