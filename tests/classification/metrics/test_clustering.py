"""The unsupervised accuracy: assignments against all permutations and a naive greedy, clusters that are known."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from repmet.classification.metrics.clustering import assign_clusters, unsupervised_accuracy


def right(counts, assigned) -> int:
    return sum(counts[i, c] for i, c in enumerate(assigned))


def naive_greedy(counts) -> int:
    left, total = counts.astype(float), 0
    for _ in range(len(counts)):
        i, j = np.unravel_index(left.argmax(), left.shape)
        total += counts[i, j]
        left[i], left[:, j] = -1, -1
    return total


@pytest.mark.parametrize("seed", range(20))
def test_hungarian_is_the_best_of_all_permutations_and_greedy_the_naive_one(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, (5, 5)) * rng.integers(0, 2, (5, 5))  # with ties and empty cells
    best, greedy = (assign_clusters(counts, name) for name in ("hungarian", "greedy"))
    assert sorted(best) == sorted(greedy) == list(range(5))
    assert right(counts, best) == max(right(counts, p) for p in permutations(range(5)))
    assert right(counts, greedy) == naive_greedy(counts)


def test_greedy_may_fall_short():
    counts = np.array([[5, 4], [4, 0]])
    assert right(counts, assign_clusters(counts, "greedy")) == 5
    assert right(counts, assign_clusters(counts, "hungarian")) == 8


@pytest.mark.parametrize("assignment", ["hungarian", "greedy"])
def test_classes_that_are_clusters(assignment):
    labels = torch.tensor([30, 10, 20, 40]).repeat(25)  # ids with gaps
    places = torch.tensor([[0.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])
    embeddings = places[labels // 10 - 1] + 0.1 * torch.randn(100, 3)
    assert unsupervised_accuracy(embeddings, labels, assignment=assignment) == 1
    labels[:10] = labels[:10].roll(1)  # ten images of another class than their neighbours
    assert unsupervised_accuracy(embeddings, labels, assignment=assignment) == pytest.approx(0.9)


def test_against_the_best_relabelling_of_sklearns_clusters():
    labels = torch.randint(0, 4, (200,))
    embeddings = torch.randn(4, 2)[labels] + torch.randn(200, 2)
    clusters = torch.from_numpy(
        KMeans(4, n_init=3, max_iter=20, random_state=5).fit_predict(embeddings.numpy()).astype(np.int64)
    )
    expected = max((torch.tensor(p)[clusters] == labels).float().mean().item() for p in permutations(range(4)))
    accuracy = unsupervised_accuracy(embeddings, labels, seed=5, starts=3, iterations=20)
    assert accuracy == pytest.approx(expected) and 0.3 < accuracy < 1


def test_one_class_is_always_right():
    assert unsupervised_accuracy(torch.randn(5, 2), torch.full((5,), 3)) == 1


@pytest.mark.parametrize(
    ("embeddings", "labels", "options", "message"),
    [
        (torch.zeros(3), torch.zeros(3), {}, r"not \(3,\) and \(3,\)"),
        (torch.zeros(3, 2), torch.zeros(2), {}, r"not \(3, 2\) and \(2,\)"),
        (torch.zeros(0, 2), torch.zeros(0), {}, "n at least 1"),
        (torch.full((2, 2), torch.nan), torch.zeros(2), {}, "finite embeddings"),
        (torch.randn(4, 2), torch.tensor([0, 1, 0, 1]), {"assignment": "vote"}, "hungarian, greedy, not 'vote'"),
    ],
)
def test_bad_input_is_refused(embeddings, labels, options, message):
    with pytest.raises(ValueError, match=message):
        unsupervised_accuracy(embeddings, labels, **options)


def test_counts_must_be_square():
    with pytest.raises(ValueError, match=r"counts \(N, N\), not \(2, 3\)"):
        assign_clusters(np.zeros((2, 3)))
