"""Accuracies by every rule: against naive loops and scikit-learn, on vectors, and at their limits."""

import math

import pytest
import torch
from sklearn.neighbors import NearestCentroid

from repmet.classification.metrics import accuracies as module
from repmet.classification.metrics.accuracies import all_accuracies, batch_accuracy, predictions

VECTOR = torch.tensor([[[1.0, 0]], [[2, 1]], [[1, 2.5]]])  # three clusters; classes 0, 1 and again 0


def case(n=60, classes=4, modes=3, e=5):
    labels = torch.randint(0, classes, (n,))
    representatives = torch.randn(classes, modes, e, dtype=torch.float64)
    embeddings = representatives[labels, torch.randint(0, modes, (n,))] + 1.2 * torch.randn(n, e, dtype=torch.float64)
    return embeddings, labels, representatives


def naive(embedding, representatives, sigma2, nearest, present=None) -> dict[str, int]:
    """One embedding, as the formulas stand, in Python's numbers."""
    ordered = sorted(
        (sum((a - b) ** 2 for a, b in zip(embedding, point, strict=True)), c)
        for c, points in enumerate(representatives)
        for k, point in enumerate(points)
        if present is None or present[c][k]
    )
    sums = {rule: [0.0] * len(representatives) for rule in ("magnet", "repmet")}
    for rank, (d2, c) in enumerate(ordered):
        weight = math.exp(-d2 / (2 * sigma2))
        sums["repmet"][c] += weight
        sums["magnet"][c] += weight if rank < nearest else 0
    return {"simple": ordered[0][1], **{rule: values.index(max(values)) for rule, values in sums.items()}}


@pytest.mark.parametrize("sigma2", [0.3, 2.0, 20.0])
@pytest.mark.parametrize("nearest", [1, 4, 128])
@pytest.mark.parametrize("some_absent", [False, True])
def test_every_rule_against_a_naive_loop(sigma2, nearest, some_absent, monkeypatch):
    embeddings, labels, representatives = case()
    present = torch.rand(4, 3) < 0.6 if some_absent else None
    predicted = predictions(embeddings, representatives, sigma2, present=present, nearest=nearest)
    mask = None if present is None else present.tolist()
    expected = [naive(x, representatives.tolist(), sigma2, nearest, mask) for x in embeddings.tolist()]
    for rule in ("simple", "magnet", "repmet"):
        assert predicted[rule].tolist() == [answer[rule] for answer in expected], rule
    figures = all_accuracies(embeddings, labels, representatives, sigma2, present=present, nearest=nearest, assignment=None)
    for rule, figure in figures.items():
        assert figure == pytest.approx(
            sum(answer[rule] == y for answer, y in zip(expected, labels.tolist(), strict=True)) / 60
        )
    monkeypatch.setattr(module, "_BLOCK", 100)  # eight images at a time, the last block not full
    again = predictions(embeddings, representatives, sigma2, present=present, nearest=nearest)
    assert all(torch.equal(predicted[rule], again[rule]) for rule in predicted)


def test_the_rules_differ_where_they_should():
    embeddings, _, representatives = case(n=500)
    predicted = predictions(embeddings, representatives, 5.0, nearest=4)
    for a, b in (("simple", "magnet"), ("magnet", "repmet"), ("simple", "repmet")):
        assert 0 < (predicted[a] != predicted[b]).float().mean() < 0.5


def test_the_knc_vector():
    """q has cluster 1, of class 1, nearest; all three clusters together speak for class 0."""
    q = torch.tensor([[1.2, 1.2]])
    clusters = torch.stack([VECTOR[[0, 2], 0], VECTOR[[1, 1], 0]])  # (2, 2, 2); class 1 has one cluster
    present = torch.tensor([[True, True], [True, False]])
    said = {L: predictions(q, clusters, 1.3, present=present, nearest=L)["magnet"].item() for L in (1, 2, 3)}
    assert said == {1: 1, 2: 1, 3: 0}
    assert predictions(q, clusters, 1.3, present=present)["repmet"].item() == 0
    assert predictions(q, clusters, 1.3)["repmet"].item() == 1  # the filler would count twice


def test_the_magnet_rule_asks_128_neighbours_unless_told_otherwise():
    """On a line, of next to equal weights: 64 of class 0 are nearest, then 64 of class 1, and one of class 1 more."""
    points = 1 + torch.arange(129.0, dtype=torch.float64)
    representatives = torch.stack([torch.cat([points[:64], points[:1]]), points[64:]])[..., None]  # (2, 65, 1)
    present = torch.ones(2, 65)
    present[0, 64] = 0
    origin = torch.zeros(1, 1, dtype=torch.float64)
    for nearest, expected in (({}, 0), ({"nearest": 128}, 0), ({"nearest": 129}, 1)):
        assert predictions(origin, representatives, 1e9, present=present, **nearest)["magnet"].item() == expected


def test_one_representative_a_class_makes_all_rules_one():
    embeddings, _, representatives = case(modes=1)
    predicted = predictions(embeddings, representatives, 0.7)
    assert torch.equal(predicted["simple"], predicted["repmet"]) and torch.equal(predicted["simple"], predicted["magnet"])


def test_class_means_against_sklearn():
    embeddings, labels, _ = case(n=200)
    means = torch.stack([embeddings[labels == c].mean(0) for c in range(4)])[:, None]
    expected = NearestCentroid().fit(embeddings, labels).score(embeddings, labels)
    assert all_accuracies(embeddings, labels, means, 1.0, assignment=None)["simple"] == pytest.approx(expected)


def test_all_four_figures_and_that_the_unsupervised_one_needs_no_representatives():
    embeddings, labels, representatives = case(n=80)
    centres = 100 * torch.eye(5, dtype=torch.float64)[:4]
    clear = embeddings * 0.01 + centres[labels]
    figures = all_accuracies(clear, labels, representatives, 1.0, seed=3)
    assert list(figures) == ["simple", "magnet", "repmet", "unsupervised"]
    assert figures["unsupervised"] == 1 and figures["simple"] < 1
    assert all_accuracies(clear, labels, centres[:, None], 1.0, assignment="greedy") == dict.fromkeys(figures, 1.0)


def test_far_from_everything_the_sums_do_not_vanish():
    representatives = torch.tensor([[[0.0, 0]], [[1, 0]]])
    predicted = predictions(torch.tensor([[300.0, 0], [-300, 0]]), representatives, 0.01)
    assert all(rule.tolist() == [1, 0] for rule in predicted.values())


def test_a_tie_goes_to_the_first_class():
    predicted = predictions(torch.zeros(1, 2), torch.tensor([[[1.0, 0]], [[-1, 0]], [[0, 1]]]), 1.0)
    assert all(rule.tolist() == [0] for rule in predicted.values())


def test_the_variance_may_be_a_buffer_and_gradients_stay_out():
    embeddings, labels, representatives = case()
    figures = all_accuracies(
        embeddings.requires_grad_(), labels, representatives.requires_grad_(), torch.tensor(0.5), assignment=None
    )
    assert figures == all_accuracies(embeddings, labels, representatives, 0.5, assignment=None)


def naive_batch(embeddings, classes) -> float:
    right, total = 0, 0
    means = [[sum(column) / len(cluster) for column in zip(*cluster, strict=True)] for cluster in embeddings.tolist()]
    for m, cluster in enumerate(embeddings.tolist()):
        for sample in cluster:
            nearest = min(range(len(means)), key=lambda k, s=sample: math.dist(s, means[k]))
            right, total = right + (classes[nearest] == classes[m]), total + 1
    return right / total


def test_batch_accuracy_against_a_naive_loop():
    for _ in range(10):
        embeddings, classes = torch.randn(5, 4, 3, dtype=torch.float64), torch.randint(0, 3, (5,))
        assert batch_accuracy(embeddings, classes).item() == pytest.approx(naive_batch(embeddings, classes.tolist()))


def test_another_cluster_of_the_class_is_right():
    embeddings = torch.tensor([[[0.0], [9]], [[8], [10]], [[-1], [-2]]])
    assert batch_accuracy(embeddings, torch.tensor([4, 4, 7])).item() == pytest.approx(5 / 6)
    assert batch_accuracy(embeddings, torch.tensor([4, 5, 7])).item() == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma2": 0.0}, "must be positive and finite, not 0.0"),
        ({"sigma2": torch.tensor(torch.nan)}, "must be positive and finite, not nan"),
        ({"embeddings": torch.zeros(60, 4)}, r"not \(60, 4\) and \(4, 3, 5\)"),
        ({"embeddings": torch.full((60, 5), torch.inf)}, "60 of 60 embeddings are not finite"),
        ({"labels": torch.zeros(59)}, r"60 embeddings need as many labels \(n,\), n at least 1, not \(59,\)"),
        ({"labels": torch.full((60,), 4)}, "labels run from 4 to 4, there are representatives of 4 classes"),
        ({"present": torch.ones(4, 2)}, r"present \(4, 2\) must say of \(4, 3\) representatives"),
        ({"present": torch.zeros(4, 3)}, "at least one"),
        ({"nearest": 0}, "at least 1 nearest cluster"),
    ],
)
def test_bad_input_is_refused(changes, message):
    embeddings, labels, representatives = case()
    arguments = {"embeddings": embeddings, "labels": labels, "representatives": representatives, "sigma2": 1.0}
    with pytest.raises(ValueError, match=message):
        all_accuracies(**{**arguments, **changes})


def test_a_batch_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"not \(3, 2\) and \(3,\)"):
        batch_accuracy(torch.zeros(3, 2), torch.zeros(3))


def test_limits_of_the_arguments():
    embeddings, labels, representatives = case(n=6)
    for sigma2 in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="must be positive and finite"):
            predictions(embeddings, representatives, sigma2)
    with pytest.raises(ValueError, match="n at least 1"):
        all_accuracies(embeddings[:0], labels[:0], representatives, 1.0)
    assert [len(said) for said in predictions(embeddings[:1], representatives, 1.0).values()] == [1, 1, 1]
    for wrong in (labels - 1, labels + 4):
        with pytest.raises(ValueError, match="labels run from"):
            all_accuracies(embeddings, wrong, representatives, 1.0)


def test_one_image_at_a_time_gives_the_same(monkeypatch):
    embeddings, _, representatives = case(n=7)
    whole = predictions(embeddings, representatives, 2.0)
    monkeypatch.setattr(module, "_BLOCK", 1)
    again = predictions(embeddings, representatives, 2.0)
    assert all(torch.equal(whole[rule], again[rule]) for rule in whole)


def test_the_seed_is_that_of_the_clusters():
    embeddings, labels = torch.randn(60, 2, dtype=torch.float64), torch.arange(60) % 6
    representatives = torch.randn(6, 1, 2, dtype=torch.float64)
    figures = [all_accuracies(embeddings, labels, representatives, 1.0, seed=seed)["unsupervised"] for seed in range(6)]
    assert len(set(figures)) > 1
    again = [all_accuracies(embeddings, labels, representatives, 1.0, seed=seed)["unsupervised"] for seed in range(6)]
    assert figures == again
