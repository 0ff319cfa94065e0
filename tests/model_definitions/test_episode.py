"""From supports to representatives: means, all shots, k-means; against naive loops and scikit-learn."""

import pytest
import torch
from sklearn.cluster import KMeans

from repmet.model_definitions.episode import all_shots, class_means, kmeans_centres
from repmet.model_definitions.representatives import posterior, squared_distances

METHODS = {
    "class_means": class_means,
    "all_shots": all_shots,
    "kmeans_centres": lambda e, y, n: kmeans_centres(e, y, n, 2),
}


def supports(counts, e=5, dtype=torch.float64):
    """Embeddings (S, e) and labels (S,) in random order."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels))]
    return torch.randn(len(labels), e, dtype=dtype), labels


def members(embeddings, labels, c):
    return [e for e, y in zip(embeddings.tolist(), labels.tolist(), strict=True) if y == c]


@pytest.mark.parametrize("counts", [[1], [1, 1, 1], [3, 3], [2, 5, 1, 4]])
def test_class_means_are_the_means(counts):
    embeddings, labels = supports(counts)
    means = class_means(embeddings, labels, len(counts))
    assert means.shape == (len(counts), 1, 5)
    for c in range(len(counts)):
        class_supports = members(embeddings, labels, c)
        naive = [sum(column) / len(class_supports) for column in zip(*class_supports, strict=True)]
        torch.testing.assert_close(means[c, 0], torch.tensor(naive, dtype=torch.float64))


def test_class_means_of_the_prototypical_networks_vector():
    means = class_means(torch.tensor([[0.0, 0], [0, 2], [3, 0], [5, 0]]), torch.tensor([0, 0, 1, 1]), 2)
    assert means.tolist() == [[[0, 1]], [[4, 0]]]
    queries = torch.tensor([[0.0, 1], [1, 1], [4, 0], [2, 0]])
    assert squared_distances(queries, means).squeeze(-1).tolist() == [[0, 17], [1, 10], [17, 0], [5, 4]]


@pytest.mark.parametrize("counts", [[1], [2, 2, 2], [1, 4, 2], [40, 30]])  # sorts differ from 17 on
def test_all_shots_keeps_every_support_in_its_order(counts):
    embeddings, labels = supports(counts)
    points = all_shots(embeddings, labels, len(counts))
    assert points.shape == (len(counts), max(counts), 5)
    for c, count in enumerate(counts):
        class_supports = members(embeddings, labels, c)
        assert points[c, :count].tolist() == class_supports
        assert points[c, count:].tolist() == [class_supports[0]] * (max(counts) - count)  # the first one fills up


def test_filling_up_changes_no_hard_posterior():
    embeddings, labels = supports([1, 4, 2])
    queries = torch.randn(6, 5, dtype=torch.float64)
    whole = posterior(squared_distances(queries, all_shots(embeddings, labels, 3)))
    for c in range(3):
        alone = posterior(squared_distances(queries, embeddings[labels == c][None]))
        torch.testing.assert_close(whole[:, c], alone[:, 0])


@pytest.mark.parametrize("name", ["class_means", "kmeans_centres"])
def test_the_order_of_supports_does_not_matter(name):
    embeddings, labels = supports([2, 2, 1])
    order = torch.randperm(5)
    points = METHODS[name](embeddings, labels, 3)
    shuffled = METHODS[name](embeddings[order], labels[order], 3)
    queries = torch.randn(7, 5, dtype=torch.float64)
    torch.testing.assert_close(
        posterior(squared_distances(queries, points)), posterior(squared_distances(queries, shuffled))
    )


def test_the_order_of_supports_does_not_matter_to_all_shots():
    embeddings, labels = supports([3, 1, 4])
    order = torch.randperm(8)
    queries = torch.randn(7, 5, dtype=torch.float64)
    nearest = squared_distances(queries, all_shots(embeddings, labels, 3)).amin(-1)
    torch.testing.assert_close(squared_distances(queries, all_shots(embeddings[order], labels[order], 3)).amin(-1), nearest)


def test_kmeans_where_a_class_has_more_supports_than_modes():
    embeddings, labels = supports([9, 2, 3, 12], e=3)
    points = kmeans_centres(embeddings, labels, 4, 3, seed=5)
    assert points.shape == (4, 3, 3)
    for c in (0, 3):
        class_supports = embeddings[labels == c].numpy()
        fit = KMeans(3, n_init=1, random_state=5).fit(class_supports)
        torch.testing.assert_close(points[c], torch.from_numpy(fit.cluster_centers_))
        for k in range(3):  # each centre is the mean of what is nearest to it
            torch.testing.assert_close(points[c, k], torch.from_numpy(class_supports[fit.labels_ == k].mean(0)))
    for c in (1, 2):  # no more than K: kept as they are
        torch.testing.assert_close(points[c, : (labels == c).sum()], embeddings[labels == c])


def test_kmeans_with_one_mode_is_the_mean():
    embeddings, labels = supports([9, 1, 3])
    points = kmeans_centres(embeddings, labels, 3, 1)
    fits = [KMeans(1, n_init=1).fit(embeddings[labels == c].numpy()).cluster_centers_ for c in range(3)]
    torch.testing.assert_close(points, torch.stack([torch.from_numpy(fit) for fit in fits]), check_dtype=False)


def test_kmeans_finds_groups_that_are_there():
    groups = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    cloud = (groups[:, None] + 0.01 * torch.randn(3, 20, 2)).flatten(0, 1)
    points = kmeans_centres(cloud, torch.zeros(60, dtype=torch.long), 1, 3)
    nearest = squared_distances(groups, points)[:, 0].amin(-1)
    assert points.dtype == torch.float32 and nearest.max() < 1e-3


def test_two_modes_are_no_mean():
    embeddings = torch.tensor([[0.0, 0], [0, 2], [10, 0], [10, 2]])
    points = kmeans_centres(embeddings, torch.zeros(4, dtype=torch.long), 1, 2)
    assert sorted(points[0].tolist()) == [[0, 1], [10, 1]]


def test_kmeans_with_few_supports_is_all_shots_and_does_not_depend_on_the_seed():
    embeddings, labels = supports([1, 4, 2])
    expected = all_shots(embeddings, labels, 3)
    for seed in (0, 1):
        assert torch.equal(kmeans_centres(embeddings, labels, 3, 4, seed=seed), expected)


def test_kmeans_is_reproducible_and_leaves_the_global_generators_alone():
    embeddings, labels = supports([30], e=8)
    state = torch.random.get_rng_state()
    first = kmeans_centres(embeddings, labels, 1, 4)
    assert torch.equal(first, kmeans_centres(embeddings, labels, 1, 4))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["class_means", "all_shots"])
def test_gradients_reach_the_supports(name):
    embeddings, labels = supports([2, 3, 1], e=3)
    embeddings.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: METHODS[name](e, labels, 3), (embeddings,))


@pytest.mark.parametrize("function", METHODS.values(), ids=METHODS)
def test_a_class_without_support_is_named(function):
    with pytest.raises(ValueError, match=r"classes \[1, 3\] of the episode have no support"):
        function(torch.randn(3, 4), torch.tensor([0, 2, 2]), 4)


@pytest.mark.parametrize("function", METHODS.values(), ids=METHODS)
def test_no_support_at_all(function):
    with pytest.raises(ValueError, match=r"classes \[0, 1\] of the episode have no support"):
        function(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 2)


@pytest.mark.parametrize("function", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((3, 4), [0, 1], r"not \(3, 4\) and \(2,\)"),
        ((3,), [0, 1, 1], r"not \(3,\) and \(3,\)"),
        ((2, 4), [0, 2], r"must lie in 0\.\.1"),
        ((2, 4), [-1, 1], r"must lie in 0\.\.1"),
    ],
)
def test_bad_supports_are_refused(function, shape, labels, message):
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(*shape), torch.tensor(labels), 2)


@pytest.mark.parametrize("modes", [0, -1])
def test_kmeans_needs_a_mode(modes):
    with pytest.raises(ValueError, match=f"at least 1, not {modes}"):
        kmeans_centres(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), 1, modes)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_means_of_many_supports_in_half_precision(dtype):
    """Summed up in 8 bits of mantissa, 600 ones come to 256; the mean is 1 all the same, and of the embeddings' type."""
    embeddings = torch.cat([torch.ones(600, 2), torch.full((3, 2), 0.25)]).to(dtype)
    means = class_means(embeddings, torch.tensor([0] * 600 + [1] * 3), 2)
    assert means.dtype == dtype and means[:, 0].tolist() == [[1, 1], [0.25, 0.25]]
