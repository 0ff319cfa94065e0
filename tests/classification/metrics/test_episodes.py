"""Episodes: the protocol, that a seed fixes them for ever, and accuracies against naive loops and scipy."""

from collections import Counter
from itertools import permutations

import pytest
import torch
from scipy.spatial.distance import cdist

from repmet.classification.metrics import episodes as module
from repmet.classification.metrics.episodes import Episodes, episode_accuracies, episode_predictions, sample_episodes

DRAW = {"way": 3, "shot": 2, "query": 4, "episodes": 50, "seed": 7}


def uneven_labels() -> torch.Tensor:
    """Eight classes of 6 to 13 images, ids with gaps, in random order."""
    labels = torch.repeat_interleave(torch.tensor([0, 2, 3, 5, 7, 11, 12, 20]), torch.arange(6, 14))
    return labels[torch.randperm(len(labels))]


FIXED = {
    "classes": [[7, 3, 6], [6, 5, 2]],
    "support": [[[37], [16], [33]], [[30], [27], [11]]],
    "query": [[[36, 39], [15, 18], [34, 32]], [[34, 32], [28, 29], [13, 12]]],
    "hash": "551054d7bd590ec3",
}


def draw(labels, **changes) -> Episodes:
    return sample_episodes(labels, **{**DRAW, **changes})


def naive_accuracy(embeddings, episodes, prototypes, distance) -> list[float]:
    """One episode, class and query at a time, with scipy's distances."""
    metric = {"squared_euclidean": "sqeuclidean", "cosine": "cosine"}[distance]
    accuracies = []
    for e in range(len(episodes)):
        right = 0
        for w in range(episodes.way):
            for image in episodes.query[e, w].tolist():
                nearest = []
                for other in range(episodes.way):
                    points = embeddings[episodes.support[e, other].long()]
                    points = points.mean(0, keepdim=True) if prototypes == "mean" else points
                    nearest.append(cdist(embeddings[image][None].numpy(), points.numpy(), metric).min())
                right += min(range(episodes.way), key=nearest.__getitem__) == w
        accuracies.append(right / (episodes.way * episodes.queries))
    return accuracies


def test_an_episode_keeps_the_protocol():
    labels = uneven_labels()
    episodes = draw(labels)
    assert (len(episodes), episodes.way, episodes.shot, episodes.queries) == (50, 3, 2, 4)
    for e in range(50):
        assert len(set(episodes.classes[e].tolist())) == 3
        images = [*episodes.support[e].flatten().tolist(), *episodes.query[e].flatten().tolist()]
        assert len(set(images)) == 3 * 6
        for w, name in enumerate(episodes.classes[e].tolist()):
            for image in (*episodes.support[e, w].tolist(), *episodes.query[e, w].tolist()):
                assert labels[image] == name
    episodes.check(labels)


def test_a_class_may_be_used_up_whole():
    episodes = draw(uneven_labels(), shot=2, query=4, way=8)  # its smallest class has six images
    smallest = (episodes.classes == 0).nonzero()
    images = torch.cat([episodes.support, episodes.query], 2)[smallest[:, 0], smallest[:, 1]]
    assert all(len(set(row)) == 6 for row in images.tolist()) and len({tuple(sorted(row)) for row in images.tolist()}) == 1


def test_every_ordered_choice_is_equally_likely():
    labels = torch.arange(3).repeat_interleave(4)
    episodes = sample_episodes(labels, 2, 2, 1, 12_000, 0)
    classes = Counter(map(tuple, episodes.classes.tolist()))
    assert set(classes) == set(permutations(range(3), 2))
    assert max(abs(n - 2000) for n in classes.values()) < 205  # five standard deviations
    rows = torch.cat([episodes.query, episodes.support], 2).flatten(0, 1) % 4
    images = Counter(map(tuple, rows.tolist()))
    assert set(images) == set(permutations(range(4), 3))
    assert max(abs(n - 1000) for n in images.values()) < 155


def test_lehmers_code_against_taking_from_a_list():
    sizes = torch.tensor([7, 6, 5, 4, 3])
    code = (torch.rand(200, 5) * sizes).long()
    for row, numbers in zip(code.tolist(), module._distinct(code.numpy().copy()).tolist(), strict=True):
        left = list(range(7))
        assert numbers == [left.pop(k) for k in row]


def test_the_first_episodes_do_not_depend_on_how_many():
    labels = uneven_labels()
    whole, few = draw(labels), draw(labels, episodes=5)
    for name in ("classes", "support", "query"):
        assert torch.equal(getattr(whole, name)[:5], getattr(few, name))


def test_shots_share_classes_and_queries_and_are_nested():
    labels = uneven_labels()
    one_shot, two_shot = draw(labels, shot=1), draw(labels, shot=2)
    assert torch.equal(one_shot.classes, two_shot.classes) and torch.equal(one_shot.query, two_shot.query)
    assert torch.equal(one_shot.support, two_shot.support[..., :1])
    assert one_shot.hash != two_shot.hash


def test_a_seed_fixes_the_episodes_and_another_changes_them():
    labels = uneven_labels()
    state = torch.random.get_rng_state()
    first, again, other = draw(labels), draw(labels), draw(labels, seed=8)
    assert first.hash == again.hash != other.hash
    assert torch.equal(state, torch.random.get_rng_state())
    assert (first.classes != other.classes).float().mean() > 0.5


def test_draws_are_fixed_for_ever():
    """Values from when this was written: published figures must stay on the episodes that they were measured on."""
    episodes = sample_episodes(torch.arange(9).repeat_interleave(5), 3, 1, 2, 2, 3)
    assert episodes.classes.tolist() == FIXED["classes"]
    assert episodes.support.tolist() == FIXED["support"]
    assert episodes.query.tolist() == FIXED["query"]
    assert episodes.hash.startswith(FIXED["hash"])


def test_groups_keep_an_episode_within_one_and_all_are_drawn():
    labels = torch.arange(10).repeat_interleave(4)
    groups = torch.tensor([4, 4, 4, 9, 9, 9, 9, 1, 1, 1])
    episodes = sample_episodes(labels, 3, 1, 1, 3000, 0, groups)
    of_class = groups[episodes.classes.long()]
    assert (of_class == of_class[:, :1]).all()
    counts = Counter(of_class[:, 0].tolist())
    assert set(counts) == {1, 4, 9} and max(abs(n - 1000) for n in counts.values()) < 130  # five standard deviations
    episodes.check(labels)


@pytest.mark.parametrize("prototypes", module.PROTOTYPES)
@pytest.mark.parametrize("distance", module.DISTANCES)
@pytest.mark.parametrize("shot", [1, 2])
def test_accuracies_against_a_naive_loop(prototypes, distance, shot, monkeypatch):
    labels = uneven_labels()
    embeddings = torch.randn(21, 5, dtype=torch.float64)[labels] + torch.randn(len(labels), 5, dtype=torch.float64)
    episodes = draw(labels, shot=shot, episodes=23)
    accuracies = episode_accuracies(embeddings, episodes, prototypes, distance)
    expected = naive_accuracy(embeddings, episodes, prototypes, distance)
    assert accuracies.tolist() == pytest.approx(expected)
    assert 0.4 < accuracies.mean() < 0.99
    monkeypatch.setattr(module, "_BLOCK", 400)  # several blocks, the last one not full
    assert torch.equal(episode_accuracies(embeddings, episodes, prototypes, distance), accuracies)


def test_the_vector_of_the_prototypical_networks():
    embeddings = torch.tensor([[0.0, 0], [0, 2], [3, 0], [5, 0], [0, 1], [1, 1], [4, 0], [2, 0]])
    episodes = Episodes(torch.tensor([[0, 1]]), torch.tensor([[[0, 1], [2, 3]]]), torch.tensor([[[4, 5], [6, 7]]]))
    assert episode_predictions(embeddings, episodes).tolist() == [[[0, 0], [1, 1]]]
    assert episode_accuracies(embeddings, episodes).tolist() == [1.0]
    swapped = Episodes(torch.tensor([[0, 1]]), torch.tensor([[[0, 1], [2, 3]]]), torch.tensor([[[4, 6], [5, 7]]]))
    assert episode_accuracies(embeddings, swapped).tolist() == [0.5]


def test_one_query_is_not_compared_with_all_classes():
    """A squeezed dimension would make a square of the comparison, and the accuracy 1 / way."""
    labels = torch.arange(6).repeat_interleave(2)
    assert episode_accuracies(torch.eye(6)[labels], sample_episodes(labels, 5, 1, 1, 30, 0)).eq(1).all()


def test_a_collapsed_embedding_is_at_chance():
    labels = uneven_labels()
    for distance in module.DISTANCES:
        assert episode_accuracies(torch.ones(len(labels), 3), draw(labels), "mean", distance).eq(1 / 3).all()


def test_no_gradient_is_recorded():
    labels = uneven_labels()
    embeddings = torch.randn(len(labels), 3, requires_grad=True)
    assert not episode_accuracies(embeddings, draw(labels)).requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"way": 9}, "9-way episodes need 9 classes, the set has 8"),
        ({"query": 6}, r"2 of 8 classes have fewer than 2 support \+ 6 query images: class 0: 6, class 2: 7"),
        ({"shot": 0}, "shot 0, .* at least 1"),
        ({"episodes": 0}, "episodes 0 are at least 1"),
        ({"seed": -1}, "seed -1 at least 0"),
        ({"groups": torch.zeros(5, dtype=torch.long)}, r"groups \(5,\) must hold one number for every class"),
        ({"groups": torch.arange(21) // 6}, "3-way episodes need 3 classes in every group: group 1: 2, group 2: 1, group 3"),
    ],
)
def test_too_little_is_refused_with_the_counts(changes, message):
    with pytest.raises(ValueError, match=message):
        draw(uneven_labels(), **changes)


@pytest.mark.parametrize("labels", [torch.rand(5), torch.zeros(4, 2, dtype=torch.long), torch.tensor([0, -1])])
def test_labels_are_class_ids(labels):
    with pytest.raises(ValueError, match="labels are class ids"):
        draw(labels)


def test_no_images_at_all():
    with pytest.raises(ValueError, match="the set has 0"):
        draw(torch.zeros(0, dtype=torch.long))


def test_episodes_of_another_set_are_noticed():
    labels = uneven_labels()
    episodes = draw(labels)
    with pytest.raises(ValueError, match=r"use images 0\.\.\d+, the set has 10"):
        episodes.check(labels[:10])
    with pytest.raises(ValueError, match="of another set: episode 0 has images of other classes under class"):
        episodes.check(labels.roll(1))


def test_a_single_image_of_another_class_is_noticed():
    labels = torch.arange(4).repeat_interleave(3)
    good = sample_episodes(labels, 2, 1, 2, 3, 0)
    support = good.support.clone()
    support[2, 1, 0] = 3 * ((good.classes[2, 1] + 1) % 4)
    said = f"episode 2 has images of other classes under class {good.classes[2, 1]}$"
    with pytest.raises(ValueError, match=said):
        Episodes(good.classes, support, good.query).check(labels)


def test_a_class_or_an_image_that_comes_twice_is_noticed():
    labels = torch.arange(4).repeat_interleave(3)
    good = sample_episodes(labels, 2, 1, 2, 3, 0)
    query = good.query.clone()
    query[1, 0, 0] = good.support[1, 0, 0]
    with pytest.raises(ValueError, match="episode 1 holds an image twice"):
        Episodes(good.classes, good.support, query).check(labels)
    classes, support, query = (t.clone() for t in (good.classes, good.support, good.query))
    for tensor in (classes, support, query):
        tensor[2, 1] = tensor[2, 0]
    with pytest.raises(ValueError, match="episode 2 holds a class twice"):
        Episodes(classes, support, query).check(labels)


@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 3), (2, 3, 1)), ((2, 3), (2, 4, 1), (2, 3, 1)), ((0, 3), (0, 3, 1), (0, 3, 1))]
)
def test_shapes_must_belong_together(shapes):
    with pytest.raises(ValueError, match=r"episodes are classes \(E, way\)"):
        Episodes(*(torch.zeros(shape, dtype=torch.long) for shape in shapes))


@pytest.mark.parametrize(
    ("embeddings", "options", "message"),
    [
        (torch.zeros(76), {}, r"embeddings are \(n, e\), not \(76,\)"),
        (torch.zeros(20, 2), {}, r"use \d+ images or more, there are embeddings of 20"),
        (torch.full((76, 2), torch.nan), {}, "76 of 76 embeddings are not finite"),
        (torch.zeros(76, 2), {"prototypes": "median"}, "prototypes is one of mean, all, not 'median'"),
        (torch.zeros(76, 2), {"distance": "l2"}, "distance is one of squared_euclidean, cosine, not 'l2'"),
    ],
)
def test_bad_embeddings_are_refused(embeddings, options, message):
    with pytest.raises(ValueError, match=message):
        episode_accuracies(embeddings, draw(uneven_labels()), **options)


def test_an_index_equal_to_the_number_of_images_is_noticed():
    labels = torch.arange(4).repeat_interleave(3)
    good = sample_episodes(labels, 2, 1, 2, 3, 0)
    for index, said in ((12, r"\.\.12, the set has 12"), (-1, r"images -1\.\.")):
        query = good.query.clone()
        query[0, 0, 0] = index
        with pytest.raises(ValueError, match=said):
            Episodes(good.classes, good.support, query).check(labels)
    good.check(labels)


def test_groups_are_drawn_by_a_stream_of_their_own():
    """Of three groups all are drawn about equally often, and within a group the classes do not go with it."""
    labels = torch.arange(9).repeat_interleave(3)
    episodes = sample_episodes(labels, 2, 1, 1, 600, 3, torch.arange(9) // 3)
    group, place = episodes.classes // 3, episodes.classes[:, 0] % 3
    assert (group[:, 0] == group[:, 1]).all()
    pairs = Counter(zip(group[:, 0].tolist(), place.tolist(), strict=True))
    assert len(pairs) == 9 and min(pairs.values()) > 35 and max(pairs.values()) < 105
    with pytest.raises(ValueError, match=r"groups \(8,\) must hold one number for every class"):
        sample_episodes(labels, 2, 1, 1, 5, 3, torch.arange(8) // 3)


def test_tiny_blocks_give_the_same(monkeypatch):
    labels = uneven_labels()
    embeddings, episodes = torch.randn(len(labels), 4), draw(labels)
    whole = episode_predictions(embeddings, episodes)
    for block in (1, 37):
        monkeypatch.setattr(module, "_BLOCK", block)
        assert torch.equal(episode_predictions(embeddings, episodes), whole)
