"""NMI and pairwise F1 against scikit-learn and counting of pairs."""

from itertools import combinations

import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from repmet.classification.metrics.clusterings import (
    cluster_figures,
    contingency,
    normalised_mutual_information,
    pairwise_f1,
)


@pytest.mark.parametrize(("classes", "clusters"), ((5, 5), (3, 8), (1, 4), (4, 1), (1, 1)))
def test_against_scikit_learn_and_counting(classes, clusters):
    torch.manual_seed(classes)
    labels = torch.randint(0, classes, (60,)) * 11
    assignment = (labels // 11 + torch.randint(0, 2, (60,))) % clusters
    counts = contingency(labels, assignment)
    assert normalised_mutual_information(counts) == pytest.approx(normalized_mutual_info_score(labels, assignment), abs=1e-9)
    pairs = list(combinations(range(60), 2))
    same_class = [bool(labels[i] == labels[j]) for i, j in pairs]
    same_cluster = [bool(assignment[i] == assignment[j]) for i, j in pairs]
    both = sum(a and b for a, b in zip(same_class, same_cluster, strict=True))
    assert pairwise_f1(counts) == pytest.approx(2 * both / (sum(same_class) + sum(same_cluster)))


def test_clusters_of_embeddings():
    torch.manual_seed(0)
    labels = torch.arange(6).repeat_interleave(20)
    perfect = torch.eye(6)[labels] * 5 + 0.01 * torch.randn(120, 6)
    figures = cluster_figures(perfect, labels, starts=3)
    assert figures == {"NMI": pytest.approx(1), "F1": pytest.approx(1)}
    assert cluster_figures(torch.randn(120, 6), labels)["NMI"] < 0.5
    stretched = perfect * torch.rand(120, 1).add(0.01) * 100  # lengths say nothing to the cosine
    assert cluster_figures(stretched, labels, starts=3)["NMI"] == pytest.approx(1)
    assert cluster_figures(stretched, labels, metric="euclidean", starts=3)["NMI"] < 1
    assert cluster_figures(perfect, labels, seed=4) == cluster_figures(perfect, labels, seed=4)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"not \(3,\), \(2,\)"):
        contingency(torch.ones(3), torch.ones(2))
    with pytest.raises(ValueError, match="cosine or euclidean, not 'dot'"):
        cluster_figures(torch.ones(3, 2), torch.ones(3), metric="dot")
