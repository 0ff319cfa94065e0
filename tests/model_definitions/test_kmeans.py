"""k-means within every class at once against its definition, exhaustive search and scikit-learn."""

from itertools import product

import pytest
import torch

from repmet.model_definitions.kmeans import _lloyd, kmeans


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def check_consistent(clusters, points, labels):
    """Everything returned says the same: nearest centres, counts and inertia, point by point."""
    num_classes, num_clusters, _ = clusters.centres.shape
    counts = torch.zeros(num_classes, num_clusters, dtype=torch.long)
    inertia = torch.zeros(num_classes, dtype=torch.float64)
    for x, y, k in zip(points.double(), labels.tolist(), clusters.assignment.tolist(), strict=True):
        d2 = (clusters.centres[y].double() - x).square().sum(-1)
        assert d2[k] <= d2.min() + 1e-5
        counts[y, k] += 1
        inertia[y] += d2[k]
    assert torch.equal(clusters.counts, counts)
    torch.testing.assert_close(clusters.inertia.double(), inertia, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "num_clusters", "dim"),
    [((30,), 4, 3), ((20, 20, 20), 3, 5), ((3, 50, 9, 0, 17), 3, 2), ((1, 2, 90), 1, 4), ((8, 6), 2, 3)],
)
def test_a_fixed_point_of_both_steps(sizes, num_clusters, dim):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))[torch.randperm(sum(sizes))]
    points = torch.randn(sum(sizes), dim)
    clusters = kmeans(points, labels, len(sizes), num_clusters, iterations=100)
    check_consistent(clusters, points, labels)
    for c, size in enumerate(sizes):
        assert clusters.counts[c].sum() == size
        for k in range(num_clusters):
            members = points[(labels == c) & (clusters.assignment == k)]
            if len(members):
                torch.testing.assert_close(clusters.centres[c, k], members.mean(0), rtol=1e-4, atol=1e-5)
    assert (clusters.centres[torch.tensor(sizes) == 0] == 0).all()


@pytest.mark.parametrize("num_clusters", [2, 3])
def test_the_best_of_many_seeds_is_the_optimum(num_clusters):
    points = torch.randn(8, 2, dtype=torch.float64)
    best = torch.inf
    for partition in product(range(num_clusters), repeat=len(points)):
        groups = [points[torch.tensor(partition) == k] for k in range(num_clusters)]
        best = min(best, sum((group - group.mean(0)).square().sum().item() for group in groups if len(group)))
    labels = torch.zeros(8, dtype=torch.long)
    inertias = [kmeans(points, labels, 1, num_clusters, generator=generator(seed)).inertia.item() for seed in range(20)]
    assert min(inertias) == pytest.approx(best) and max(inertias) >= best - 1e-9


def test_groups_that_are_there_are_found_in_every_class():
    centres = torch.randn(6, 4, 8) * 10  # (N, K, e)
    labels, truth = torch.arange(6).repeat_interleave(40), torch.arange(4).repeat(60)
    points = centres[labels, truth] + 0.1 * torch.randn(240, 8)
    clusters = kmeans(points, labels, 6, 4, generator=generator())
    assert (clusters.counts == 10).all()
    for c in range(6):
        pairs = {(t, k) for t, k in zip(truth[labels == c].tolist(), clusters.assignment[labels == c].tolist(), strict=True)}
        assert len(pairs) == 4
    assert torch.cdist(clusters.centres, centres).amin(-1).max() < 0.3


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_as_low_an_inertia_as_scikit_learn(spread):
    from sklearn.cluster import KMeans

    labels = torch.arange(1600) % 40
    points = torch.randn(1600, 6) + spread * torch.randn(40, 3, 6)[labels, torch.randint(3, (1600,))]
    ours = [kmeans(points, labels, 40, 3, generator=generator(seed)).inertia.sum().item() for seed in range(10)]
    fits = [KMeans(3, n_init=1, max_iter=20, random_state=seed) for seed in range(3)]
    theirs = [sum(fit.fit(points[labels == c].numpy()).inertia_ for c in range(40)) for fit in fits]
    assert sum(ours) / len(ours) <= 1.01 * sum(theirs) / len(theirs)


@pytest.mark.parametrize("points_at_a_time", [65, 1])  # of classes of 30: two, and one that is larger than it may be
def test_a_batch_that_is_split_up_is_as_good(monkeypatch, points_at_a_time):
    points, labels = torch.randn(300, 4), torch.arange(300) % 10
    monkeypatch.setattr("model_definitions.kmeans._BATCH", {"cpu": 4 * points_at_a_time})
    clusters = kmeans(points, labels, 10, 3, iterations=100)
    check_consistent(clusters, points, labels)
    assert (clusters.counts > 0).all()


def test_seeds():
    points, labels = torch.randn(200, 4), torch.arange(200) % 5
    before = torch.get_rng_state()
    first = kmeans(points, labels, 5, 3, generator=generator(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.centres, kmeans(points, labels, 5, 3, generator=generator(1)).centres)
    assert not torch.equal(first.centres, kmeans(points, labels, 5, 3, generator=generator(2)).centres)
    torch.manual_seed(4)
    default = kmeans(points, labels, 5, 3)
    torch.manual_seed(4)
    assert torch.equal(default.centres, kmeans(points, labels, 5, 3).centres)


def test_a_seed_means_the_same_however_the_classes_are_mixed():
    """What counts is the order within a class; sorting labels keeps it only where the sort is stable."""
    points, labels = torch.randn(300, 4), torch.randint(5, (300,))
    order = sorted(range(300), key=labels.tolist().__getitem__)
    mixed = kmeans(points, labels, 5, 3, generator=generator())
    sorted_ = kmeans(points[order], labels[order], 5, 3, generator=generator())
    assert torch.equal(mixed.assignment[order], sorted_.assignment)
    assert torch.equal(mixed.centres, sorted_.centres)


def test_far_from_the_origin_single_precision_suffices():
    points, labels = torch.randn(60, 3, dtype=torch.float64), torch.arange(60) % 2
    moved = kmeans((points + 1000).float(), labels, 2, 3, generator=generator())
    assert torch.equal(moved.assignment, kmeans(points, labels, 2, 3, generator=generator()).assignment)


def test_half_precision_is_computed_in_single():
    points, labels = torch.randn(50, 8).half(), torch.zeros(50, dtype=torch.long)
    clusters = kmeans(points, labels, 1, 4)
    assert clusters.centres.dtype == torch.float32
    check_consistent(clusters, points, labels)


def test_stopped_early_the_assignment_is_to_the_returned_centres():
    points, labels = torch.randn(300, 2), torch.zeros(300, dtype=torch.long)
    clusters = kmeans(points, labels, 1, 8, iterations=1, generator=generator())
    check_consistent(clusters, points, labels)
    assert kmeans(points, labels, 1, 8, iterations=50, generator=generator()).inertia < clusters.inertia


@pytest.mark.parametrize("size", [1, 2, 3])
def test_fewer_points_than_clusters(size):
    points, labels = torch.randn(size, 5), torch.zeros(size, dtype=torch.long)
    clusters = kmeans(points, labels, 1, 4)
    assert (clusters.counts > 0).sum() == size and clusters.inertia.abs().max() < 1e-6
    # a centre without members repeats a point
    assert torch.cdist(clusters.centres[0], points).amin(-1).max() < 1e-5


def test_identical_points():
    labels = torch.arange(20) % 2
    points = torch.tensor([[1.0, 2.0], [-3.0, 0.5]])[labels]
    clusters = kmeans(points, labels, 2, 3)
    assert clusters.inertia.abs().max() < 1e-6
    torch.testing.assert_close(clusters.centres, torch.tensor([[1.0, 2.0], [-3.0, 0.5]])[:, None].expand(2, 3, 2))


def test_a_cluster_that_loses_its_members_takes_the_farthest_point():
    x = torch.tensor([[[0.0], [0.1], [0.2], [5.0]]])  # (C, m, e)
    clusters = _lloyd(x, torch.ones(1, 4, dtype=torch.bool), torch.tensor([[[0.0], [0.0]]]), 20)
    assert clusters.assignment.tolist() == [[0, 0, 0, 1]]
    torch.testing.assert_close(clusters.centres, torch.tensor([[[0.1], [5.0]]]))


def test_padding_takes_no_part():
    """Classes of unlike size share a batch; the padding, at the class mean, must not draw centres to itself."""
    points = torch.cat([torch.tensor([[-9.0], [9.0], [9.5]]), torch.randn(4, 1)])
    labels = torch.tensor([0] * 3 + [1] * 4)
    clusters = kmeans(points, labels, 2, 2)
    torch.testing.assert_close(clusters.centres[0].sort(0).values, torch.tensor([[-9.0], [9.25]]))
    assert clusters.counts.sum(1).tolist() == [3, 4]


def test_no_gradient_is_recorded():
    clusters = kmeans(torch.randn(9, 2, requires_grad=True), torch.zeros(9, dtype=torch.long), 1, 2)
    assert not clusters.centres.requires_grad and not clusters.inertia.requires_grad


@pytest.mark.parametrize(
    ("points", "labels", "num_classes", "num_clusters", "arguments", "message"),
    [
        ((4,), [0] * 4, 1, 1, {}, r"not \(4,\) and \(4,\)"),
        ((4, 2), [0] * 3, 1, 1, {}, r"not \(4, 2\) and \(3,\)"),
        ((4, 2), [0, 0, 0, 2], 2, 1, {}, r"0\.\.1, not 0\.\.2"),
        ((4, 2), [0, 0, 0, -1], 2, 1, {}, r"0\.\.1, not -1\.\.0"),
        ((4, 2), [0] * 4, 1, 0, {}, "not 1, 0 and 20"),
        ((4, 2), [0] * 4, 1, 2, {"iterations": 0}, "not 1, 2 and 0"),
    ],
)
def test_bad_arguments(points, labels, num_classes, num_clusters, arguments, message):
    with pytest.raises(ValueError, match=message):
        kmeans(torch.zeros(points), torch.tensor(labels), num_classes, num_clusters, **arguments)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_points_that_are_not_finite(value):
    points = torch.zeros(4, 2)
    points[2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        kmeans(points, torch.zeros(4, dtype=torch.long), 1, 2)


@pytest.mark.parametrize("seed", range(25))
def test_a_small_class_with_duplicates_beside_a_larger_one(seed):
    """Padding takes no part in the inertia, and centres without members lie on points of their class."""
    generator = torch.Generator().manual_seed(seed)
    classes = [torch.randint(0, 3, (5 + seed % 2, 2), generator=generator).float(), torch.randn(8, 2, generator=generator)]
    labels = torch.cat([torch.full((len(points),), c) for c, points in enumerate(classes)])
    clusters = kmeans(torch.cat(classes), labels, 2, 4, generator=generator)
    for c, points in enumerate(classes):
        d2 = torch.cdist(points, clusters.centres[c]).square()  # (m, K)
        assert clusters.inertia[c].item() == pytest.approx(d2.amin(1).sum().item(), abs=1e-5)
        assignment = clusters.assignment[labels == c]
        assert torch.equal(torch.bincount(assignment, minlength=4), clusters.counts[c])
        torch.testing.assert_close(d2.gather(1, assignment[:, None])[:, 0], d2.amin(1))
        assert (d2[:, clusters.counts[c] == 0].amin(0) < 1e-9).all()


def test_a_cluster_without_members_lies_on_a_point_of_its_class_beside_padding():
    """Five points of which two differ, padded to the eight of the other class: two of four clusters stay empty."""
    points = torch.cat([torch.tensor([[1.0, 1.0]] * 3 + [[5.0, -2.0]] * 2), torch.randn(8, 2)])
    labels = torch.tensor([0] * 5 + [1] * 8)
    for seed in range(20):
        clusters = kmeans(points, labels, 2, 4, generator=generator(seed))
        check_consistent(clusters, points, labels)
        empty = clusters.centres[0][clusters.counts[0] == 0]
        assert len(empty) == 2 and torch.cdist(empty, points[:5]).amin(-1).max() < 1e-5
