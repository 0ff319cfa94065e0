"""Batch samplers: what a batch holds, that it is drawn uniformly, and what is refused before the first one."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from repmet.classification.inputs.samplers import ClassBatchSampler, ClusterBatchSampler, EpisodeBatchSampler


def sampler_of(counts: list[int], shuffled: bool = True) -> SimpleNamespace:
    """Stands in for a data loader's sampler over a set with that many images of each class, in mixed order."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    if shuffled:
        labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    names = tuple(f"class{i:02d}" for i in range(len(counts)))
    return SimpleNamespace(dataset=SimpleNamespace(labels=labels, classes=names))


@pytest.mark.parametrize(("way", "shot", "query"), [(5, 1, 3), (2, 3, 1), (7, 2, 2)])
def test_an_episode_is_support_then_query_class_by_class(way, shot, query):
    source = sampler_of([5, 9, 6, 5, 7, 40, 5])
    labels = source.dataset.labels
    sampler = EpisodeBatchSampler(source, 1, way=way, shot=shot, query=query, episodes=50)
    assert len(sampler) == 50
    episodes = list(sampler)
    assert len(episodes) == 50
    for indices in episodes:
        assert len(set(indices)) == way * (shot + query)  # support and query are disjoint
        support, queries = labels[indices[: way * shot]].view(way, shot), labels[indices[way * shot :]].view(way, query)
        assert (support == support[:, :1]).all() and (queries == support[:, :1]).all()
        assert len(set(support[:, 0].tolist())) == way


def test_classes_and_images_are_drawn_uniformly():
    source = sampler_of([3, 6, 4])
    torch.manual_seed(1)
    episodes = list(EpisodeBatchSampler(source, way=2, shot=1, query=1, episodes=1500))
    labels = source.dataset.labels
    support = Counter(i for episode in episodes for i in episode[:2])
    query = Counter(i for episode in episodes for i in episode[2:])
    counts = torch.bincount(labels)
    for drawn in (support, query):
        for i, label in enumerate(labels.tolist()):
            expected = 1500 * 2 / 3 / counts[label].item()
            assert abs(drawn[i] - expected) < 5 * expected**0.5  # five standard deviations of a binomial


def test_the_draws_follow_the_default_generator_batch_by_batch():
    sampler = EpisodeBatchSampler(sampler_of([8] * 6), way=3, shot=1, query=2, episodes=4)
    torch.manual_seed(5)
    whole = list(sampler)
    torch.manual_seed(5)
    iterator = iter(sampler)
    next(iterator), next(iterator)
    state = torch.get_rng_state()
    torch.rand(100)
    torch.set_rng_state(state)
    assert [next(iterator), next(iterator)] == whole[2:]
    assert whole[0] != whole[1] and list(sampler) != whole


@pytest.mark.parametrize(
    ("counts", "numbers", "message"),
    [
        ([5, 5, 3], {"way": 2, "shot": 1, "query": 3}, "4 images of each class are needed in a batch, but 'class02' has 3"),
        ([1] * 9, {"way": 2, "shot": 1, "query": 1}, "'class04' has 1 and 4 more"),
        ([1] * 6, {"way": 2, "shot": 1, "query": 1}, "'class04' has 1 and 1 more"),
        ([1] * 5, {"way": 2, "shot": 1, "query": 1}, "'class04' has 1$"),
        ([5, 5, 5], {"way": 4, "shot": 1, "query": 1}, "way=4 classes a batch, but there are 3"),
        ([5], {"way": 1, "shot": 1, "query": 1}, "way=1; with fewer than two classes there is nothing to tell apart"),
        ([5, 5], {"way": 2, "shot": 0, "query": 1}, "shot must be at least 1, got 0"),
        ([5, 5], {"way": 2, "shot": 1, "query": 0}, "query must be at least 1, got 0"),
        ([5, 5], {"way": 2, "shot": 1, "query": 1, "episodes": 0}, "at least one batch an epoch, got 0"),
        ([5, 0, 5], {"way": 2, "shot": 1, "query": 1}, "'class01' has 0"),
    ],
)
def test_an_episode_that_cannot_be_drawn_is_refused_at_once(counts, numbers, message):
    with pytest.raises(ValueError, match=message):
        EpisodeBatchSampler(sampler_of(counts), **numbers)


def test_an_epoch_is_a_hundred_episodes_unless_told_otherwise():
    assert len(EpisodeBatchSampler(sampler_of([5, 5]), way=2, shot=1, query=1)) == 100


def test_a_data_set_without_labels_is_refused():
    with pytest.raises(ValueError, match="EpisodeBatchSampler needs a data set with labels and classes, got list"):
        EpisodeBatchSampler(SimpleNamespace(dataset=[1, 2]), way=2, shot=1, query=1)


def test_a_class_batch_is_classes_then_images():
    source = sampler_of([4, 6, 9, 5, 4])
    labels = source.dataset.labels
    sampler = ClassBatchSampler(source, 1, classes=3, per_class=4, batches=30)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 30
    for indices in batches:
        drawn = labels[indices].view(3, 4)
        assert (drawn == drawn[:, :1]).all() and len(drawn[:, 0].unique()) == 3 and len(set(indices)) == 12
    assert len({label for indices in batches for label in labels[indices].tolist()}) == 5
    with pytest.raises(
        ValueError, match="5 images of each class are needed in a batch, but 'class00' has 4, 'class04' has 4"
    ):
        ClassBatchSampler(source, classes=3, per_class=5, batches=1)
    with pytest.raises(ValueError, match="classes=6 classes a batch, but there are 5"):
        ClassBatchSampler(source, classes=6, per_class=4, batches=1)
    with pytest.raises(ValueError, match="per_class must be at least 1, got 0"):
        ClassBatchSampler(source, classes=3, per_class=0, batches=1)


def test_a_cluster_batch_is_what_the_index_draws():
    source = sampler_of([4, 6, 9])
    sampler = ClusterBatchSampler(source, 1, clusters=4, per_cluster=3, batches=2)
    for indices in sampler:  # without an index: the three classes there are
        drawn = source.dataset.labels[indices].view(3, 3)
        assert (drawn == drawn[:, :1]).all() and len(drawn[:, 0].unique()) == 3
    asked = []

    class Index:
        def draw(self, clusters, per_cluster):
            asked.append((clusters, per_cluster))
            return torch.arange(12) + len(asked), torch.zeros(4, dtype=torch.int64)

    sampler.index = Index()
    assert list(sampler) == [list(range(1, 13)), list(range(2, 14))] and asked == [(4, 3)] * 2
    with pytest.raises(ValueError, match=r"clusters=1 of 3 class\(es\); an impostor needs two of both"):
        ClusterBatchSampler(source, clusters=1, per_cluster=3, batches=2)
    with pytest.raises(ValueError, match=r"clusters=2 of 1 class\(es\)"):
        ClusterBatchSampler(sampler_of([9]), clusters=2, per_cluster=3, batches=2)
    with pytest.raises(ValueError, match="'class00' has 4"):
        ClusterBatchSampler(source, clusters=2, per_cluster=5, batches=2)


def alphabets(sizes: dict[str, int], each: int = 4) -> SimpleNamespace:
    names = tuple(f"{name}/{i:02d}" for name, size in sorted(sizes.items()) for i in range(size))
    labels = torch.arange(len(names)).repeat_interleave(each)
    return SimpleNamespace(dataset=SimpleNamespace(labels=labels, classes=names))


def test_the_classes_of_a_batch_are_of_few_groups():
    source = alphabets({"a": 6, "b": 12, "c": 6})
    names, labels = source.dataset.classes, source.dataset.labels
    sampler = ClassBatchSampler(source, classes=8, per_class=2, batches=300, groups=2)
    torch.manual_seed(0)
    drawn = Counter()
    for indices in sampler:
        classes = labels[indices].view(8, 2)
        assert (classes[:, 0] == classes[:, 1]).all() and len(classes[:, 0].unique()) == 8
        groups = [names[label][0] for label in classes[:, 0].tolist()]
        assert groups[:4] == groups[:1] * 4 and groups[4:] == groups[4:5] * 4 and groups[0] != groups[4]
        drawn[groups[0]] += 1
    assert abs(drawn["b"] - 150) < 5 * 75**0.5  # the first group by its number of classes


@pytest.mark.parametrize(
    ("sizes", "numbers", "message"),
    [
        ({"a": 3, "b": 9}, {"classes": 8, "groups": 2}, "8 classes of 2 groups.* 2 groups, the smallest of 3 classes"),
        ({"a": 9, "b": 9}, {"classes": 9, "groups": 2}, "9 classes of 2 groups"),
        ({"a": 9, "b": 9}, {"classes": 9, "groups": 3}, "9 classes of 3 groups"),
        ({"a": 9, "b": 9}, {"classes": 9, "groups": 0}, "groups must be at least 1, got 0"),
    ],
)
def test_groups_that_cannot_be_drawn(sizes, numbers, message):
    with pytest.raises(ValueError, match=message):
        ClassBatchSampler(alphabets(sizes), per_class=2, batches=1, **numbers)


def test_classes_without_a_group():
    with pytest.raises(ValueError, match="class 'class00' is of no group"):
        ClassBatchSampler(sampler_of([5, 5]), classes=2, per_class=2, batches=1, groups=1)
