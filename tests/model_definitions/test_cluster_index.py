"""The cluster index: what it clusters, draws, remembers and saves."""

import copy

import pytest
import torch

from repmet.model_definitions.cluster_index import ClusterIndex
from repmet.model_definitions.losses.magnet import knc


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def groups(num_classes=4, num_clusters=2, members=5, dim=3):
    """Embeddings (n, e) in well separated groups, class by class, their classes and their groups within the class."""
    centres = torch.randn(num_classes, num_clusters, dim) * 20
    labels = torch.arange(num_classes).repeat_interleave(num_clusters * members)
    within = torch.arange(num_clusters).repeat_interleave(members).repeat(num_classes)
    return centres[labels, within] + 0.01 * torch.randn(len(labels), dim), labels, within


def filled(**arguments):
    embeddings, labels, _ = groups(**arguments)
    index = ClusterIndex(arguments.get("num_clusters", 2))
    index.refresh(embeddings, labels, generator())
    return index, embeddings, labels


def test_refresh_finds_the_groups():
    embeddings, labels, within = groups()
    index = ClusterIndex(2)
    assert not index.ready
    index.refresh(embeddings, labels)
    assert index.ready and (index.counts == 5).all()
    assert torch.equal(index.assignment // 2, labels)
    assert len(set(zip(labels.tolist(), within.tolist(), index.assignment.tolist(), strict=True))) == 8
    for cluster in range(8):
        mean = embeddings[index.assignment == cluster].mean(0)
        torch.testing.assert_close(index.centres.flatten(0, 1)[cluster], mean)


def test_classes_need_not_be_contiguous():
    embeddings, labels, _ = groups(num_classes=2)
    index = ClusterIndex(2)
    index.refresh(embeddings, labels * 3)
    assert index.counts.tolist() == [[5, 5], [0, 0], [0, 0], [5, 5]]
    d2 = index.distances(embeddings)
    assert d2[:, 1:3].isinf().all() and d2[:, [0, 3]].isfinite().all()
    assert torch.equal(knc(d2, index.sigma2).argmax(-1), labels * 3)
    _, clusters = index.draw(3, 2)
    assert ((clusters // 2) % 3 == 0).all()


# --- the next batch --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_clusters", "per_cluster"), [(1, 1), (3, 2), (5, 5), (7, 3)])
def test_a_batch_is_a_seed_and_its_nearest_impostors(num_clusters, per_cluster):
    index, _, _ = filled()
    centres = index.centres.flatten(0, 1)  # (N*K, e)
    for seed in range(10):
        indices, clusters = index.draw(num_clusters, per_cluster, generator(seed))
        assert indices.shape == (num_clusters * per_cluster,) and clusters.shape == (num_clusters,)
        assert torch.equal(
            index.assignment[indices].view(num_clusters, per_cluster), clusters[:, None].expand(-1, per_cluster)
        )
        assert len(set(indices.tolist())) == len(indices)
        first, *impostors = clusters.tolist()
        distance = {c: (centres[c] - centres[first]).square().sum().item() for c in range(8) if c // 2 != first // 2}
        assert impostors == sorted(distance, key=distance.get)[: num_clusters - 1]


def test_every_sample_of_a_cluster_comes_up_alike():
    index, _, _ = filled(num_classes=2, num_clusters=1, members=4)
    draws = generator()
    hits = torch.zeros(8)
    for _ in range(400):
        indices, _ = index.draw(2, 3, draws)
        hits[indices] += 1
    assert (hits / 400 - 0.75).abs().max() < 0.09  # over four standard deviations


def test_a_cluster_smaller_than_asked_for_gives_each_sample_alike():
    index, _, _ = filled(num_classes=2, num_clusters=1, members=3)
    indices, _ = index.draw(2, 7, generator())
    times = torch.bincount(indices, minlength=6)
    assert times.min() == 2 and times.max() == 3


def test_the_seed_is_drawn_in_proportion_to_the_loss():
    index, _, _ = filled(num_classes=3, num_clusters=1, members=2)
    index.update_losses(torch.arange(6), torch.tensor([1.0, 3.0, 0.0, 0.0, 5.0, 7.0]))
    torch.testing.assert_close(index.cluster_losses(), torch.tensor([[2.0], [0.0], [6.0]]))
    draws = generator()
    seeds = torch.bincount(torch.stack([index.draw(1, 1, draws)[1][0] for _ in range(600)]), minlength=3)
    assert seeds[1] == 0, "a loss of 0 is a loss that was seen"
    assert seeds[2] / 600 == pytest.approx(0.75, abs=0.07)


def test_a_cluster_that_was_never_seen_counts_as_the_others_do():
    index, _, _ = filled(num_classes=3, num_clusters=1, members=2)
    index.update_losses(torch.tensor([0, 2]), torch.tensor([[1.0], [4.0]]))
    torch.testing.assert_close(index.cluster_losses(), torch.tensor([[1.0], [4.0], [2.5]]))


@pytest.mark.parametrize("seen", [False, True])
def test_without_losses_any_cluster_is_the_seed(seen):
    index, _, _ = filled(num_classes=4, num_clusters=1, members=2)
    if seen:
        index.update_losses(torch.arange(8), torch.zeros(8))
    draws = generator()
    seeds = torch.bincount(torch.stack([index.draw(1, 1, draws)[1][0] for _ in range(600)]), minlength=4)
    assert (seeds / 600 - 0.25).abs().max() < 0.07


def test_draws_follow_the_generator():
    index, _, _ = filled()
    before = torch.get_rng_state()
    first = index.draw(3, 2, generator(5))
    assert torch.equal(torch.get_rng_state(), before)
    again, other = index.draw(3, 2, generator(5)), index.draw(3, 2, generator(6))
    assert torch.equal(first[0], again[0]) and not torch.equal(first[0], other[0])
    torch.manual_seed(1)
    default = index.draw(3, 2)
    torch.manual_seed(1)
    assert torch.equal(default[0], index.draw(3, 2)[0])


# --- what it remembers -----------------------------------------------------------------------------------------------------


def test_a_refresh_keeps_the_samples_losses():
    index, embeddings, labels = filled()
    index.update_losses(torch.tensor([3, 1]), torch.tensor([2.0, 0.0], requires_grad=True))
    index.refresh(embeddings.flip(0), labels.flip(0), generator(1))
    assert index.seen.nonzero().flatten().tolist() == [1, 3] and index.losses[3] == 2 and not index.losses.requires_grad
    index.refresh(embeddings[:30], labels[:30])  # another training set
    assert len(index.losses) == 30 and not index.seen.any()


def test_the_running_variance():
    index, embeddings, labels = filled()
    d2 = (embeddings - index.centres.flatten(0, 1)[index.assignment]).square().sum(-1)
    torch.testing.assert_close(index.sigma2, d2.sum() / (len(labels) - 1), rtol=1e-3, atol=0)
    index = ClusterIndex(2, momentum=0.75)
    expected, values = None, torch.rand(12).tolist()
    for i, value in enumerate(values):
        index.update_sigma2(torch.tensor(value, requires_grad=True))
        expected = sum(values[: i + 1]) / (i + 1) if i < 4 else 0.75 * expected + 0.25 * value
        assert index.sigma2.item() == pytest.approx(expected, rel=1e-5) and not index.sigma2.requires_grad
    index.refresh(embeddings, labels)
    assert index.sigma2.item() == pytest.approx(expected, rel=1e-5), "the batches' variance outlasts a refresh"


def test_a_state_dict_continues_where_it_was_saved():
    index, embeddings, labels = filled()
    index.update_losses(torch.arange(10), torch.rand(10))
    index.update_sigma2(torch.tensor(0.3))
    state = copy.deepcopy(index.state_dict())
    fresh = ClusterIndex(2)
    fresh.load_state_dict(state)
    assert fresh.ready
    for name, value in index.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    for seed in range(5):
        assert torch.equal(fresh.draw(4, 3, generator(seed))[0], index.draw(4, 3, generator(seed))[0])
    # and over one that has drawn from another training set
    other, _, _ = filled(num_classes=3, members=4)
    other.draw(2, 2)
    other.load_state_dict(state)
    assert torch.equal(other.draw(4, 3, generator(1))[0], index.draw(4, 3, generator(1))[0])
    for each in (fresh, index):
        each.update_sigma2(torch.tensor(0.9))
        each.refresh(embeddings, labels, generator(2))
    assert torch.equal(fresh.sigma2, index.sigma2) and torch.equal(fresh.assignment, index.assignment)


def test_an_empty_index_is_saved_and_loaded_too():
    index = ClusterIndex(2)
    index.load_state_dict(ClusterIndex(2).state_dict())
    assert not index.ready


def test_a_state_dict_of_another_number_of_clusters_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch for centres"):
        ClusterIndex(3).load_state_dict(filled()[0].state_dict())


# --- errors ----------------------------------------------------------------------------------------------------------------


def test_before_the_first_refresh():
    for call in (lambda i: i.draw(2, 2), lambda i: i.distances(torch.zeros(1, 3)), lambda i: i.cluster_losses()):
        with pytest.raises(RuntimeError, match="call refresh"):
            call(ClusterIndex(2))


def test_more_clusters_than_there_are_impostors():
    index, _, _ = filled(num_classes=2)
    assert index.draw(3, 1)[1].shape == (3,)
    with pytest.raises(ValueError, match="a batch of 4 clusters needs 3 of other classes than the first one's; there are 2"):
        index.draw(4, 1)
    index, _, _ = filled(num_classes=1)
    with pytest.raises(ValueError, match="there are 0"):
        index.draw(2, 1)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_an_empty_batch_is_refused(sizes):
    with pytest.raises(ValueError, match="at least 1 cluster of 1 sample"):
        filled()[0].draw(*sizes)


@pytest.mark.parametrize("arguments", [{"num_clusters": 0}, {"iterations": 0}, {"momentum": 1.0}, {"momentum": -0.1}])
def test_sizes_out_of_range(arguments):
    with pytest.raises(ValueError, match="ClusterIndex needs"):
        ClusterIndex(**arguments)


def test_nothing_to_cluster():
    with pytest.raises(ValueError, match="no samples"):
        ClusterIndex(2).refresh(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
