"""Nearest neighbours against scikit-learn's, duplicates and ties included; the linear machine against its own."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from repmet.classification.metrics.neighbour_classifiers import halves_svm_accuracy, knn_accuracy, linear_svm_accuracy


def clouds(n: int, seed: int, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(n) % 5
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(5, 8)[labels] * 2 + noise * torch.randn(n, 8, generator=generator), labels * 3 + 1


@pytest.mark.parametrize("k", (1, 3, 7))
def test_neighbours_against_scikit_learn(k):
    queries, labels = clouds(80, 0)
    references, reference_labels = clouds(120, 1)
    theirs = KNeighborsClassifier(k).fit(references.numpy(), reference_labels.numpy())
    near = theirs.kneighbors(queries.numpy())[1]
    predicted = []
    for row in reference_labels[torch.from_numpy(near)].tolist():
        predicted.append(max(row, key=lambda c: (row.count(c), -row.index(c))))
    expected = (torch.tensor(predicted) == labels).double().mean().item()
    assert knn_accuracy(queries, labels, references, reference_labels, k=k, metric="euclidean") == pytest.approx(expected)


def test_each_image_is_left_out():
    e, y = clouds(60, 2)
    right = 0
    unit = F.normalize(e, dim=1)
    for i in range(60):
        similarity = unit @ unit[i]
        similarity[i] = -2
        right += int(y[similarity.argmax()] == y[i])
    assert knn_accuracy(e, y, k=1) == pytest.approx(right / 60)
    # two copies with different labels: each has only the other one
    copies = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert knn_accuracy(copies, torch.tensor([0, 1, 2, 3]), k=1) == 0


def test_linear_machine():
    queries, labels = clouds(80, 3)
    references, reference_labels = clouds(120, 4)
    unit = F.normalize(references, dim=1).numpy(), F.normalize(queries, dim=1).numpy()
    expected = LinearSVC(random_state=0).fit(unit[0], reference_labels).score(unit[1], labels)
    assert expected > 0.6
    assert linear_svm_accuracy(queries, labels, references, reference_labels) == pytest.approx(expected)


def test_linear_machine_of_halves():
    e, y = clouds(101, 6)
    e, y = e[:100], y[:100]
    known, asked = [], []
    for c in y.unique().tolist():
        members = [i for i in range(len(y)) if y[i] == c]
        known, asked = known + members[::2], asked + members[1::2]
    for normalize in (True, False):
        expected = linear_svm_accuracy(e[asked], y[asked], e[known], y[known], normalize=normalize)
        assert halves_svm_accuracy(e, y, normalize=normalize) == pytest.approx(expected)


def test_bad_arguments():
    e, y = clouds(10, 5)
    with pytest.raises(ValueError, match="k from 1 to 9, not 10"):
        knn_accuracy(e, y, k=10)
    with pytest.raises(ValueError, match="at least two classes"):
        linear_svm_accuracy(e, y, e, torch.zeros(10))
    with pytest.raises(ValueError, match="some class needs two images"):
        halves_svm_accuracy(e, torch.arange(10))
