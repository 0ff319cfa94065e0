"""Episodes: what they hold, that they are drawn the same everywhere, and that a file fixes them."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest

from repmet.detection.episodes import sampling
from repmet.detection.episodes.sampling import load_episodes, sample_episodes, save_episodes

CLASSES = ["ant", "bee", "cow", "dog", "emu", "fox"]


@dataclass(frozen=True)
class Record:
    id: str
    names: tuple
    boxes: np.ndarray
    difficult: np.ndarray


def pool(prefix: str, images: int, seed: int = 0) -> list[Record]:
    rng = np.random.default_rng(seed)
    records = []
    for k in range(images):
        n = rng.integers(1, 5)
        names = tuple(rng.choice(CLASSES, n).tolist())
        records.append(Record(f"{prefix}{k:03d}", names, np.zeros((n, 4), np.float32), rng.random(n) < 0.2))
    return records


def draw(support, query, **changes):
    settings = {"way": 3, "shots": (1, 5), "query_images": 4, "episodes": 20, "seed": 7, "classes": CLASSES}
    return sample_episodes(support, query, **{**settings, **changes})


@pytest.fixture(scope="module")
def pools():
    return pool("s", 80), pool("q", 80, seed=1)


@pytest.mark.parametrize("same_pool", [True, False])
def test_an_episode_keeps_the_protocol(pools, same_pool):
    support, query = (pools[0], pools[0]) if same_pool else pools
    drawn = draw(support, query)
    by_id = {r.id: r for r in (*support, *query)}
    assert len(drawn.episodes) == 20 and drawn.shots == (1, 5)
    for episode in drawn.episodes:
        assert len(set(episode.classes)) == 3 and set(episode.classes) <= set(CLASSES)
        assert len(episode.slots) == 12 and episode.slots[4] == (episode.classes[1], episode.query[episode.classes[1]][0])
        for name in episode.classes:
            assert len(set(episode.support[name])) == 5
            for image, box in episode.support[name]:
                assert by_id[image].names[box] == name and not by_id[image].difficult[box]
                assert all(image not in images for images in episode.query.values())
            assert len(set(episode.query[name])) == 4
            for image in episode.query[name]:
                labels, hard = by_id[image].names, by_id[image].difficult
                assert any(label == name and not h for label, h in zip(labels, hard, strict=True))
    drawn.check_against(support, query)


def test_an_episode_whose_supports_take_its_queries_is_drawn_again(monkeypatch):
    """Each of three images holds both classes: supports of two images leave one, and two are asked for."""
    both = [Record(f"{k}", ("ant", "bee"), np.zeros((2, 4), np.float32), np.zeros(2, bool)) for k in range(3)]
    settings = {"way": 2, "shots": (1,), "query_images": 2, "episodes": 30, "classes": ["ant", "bee"]}
    drawn = draw(both, both, **settings)
    assert not drawn.shown_queries()
    assert all(len({i for boxes in e.support.values() for i, _ in boxes}) == 1 for e in drawn.episodes)
    monkeypatch.setattr(sampling, "ATTEMPTS", 1)
    with pytest.raises(ValueError, match=r"episode \d+ cannot be filled: .* all but 1 of the images of (ant|bee), and 2"):
        draw(both, both, **settings)


def test_the_one_class_that_is_left_short_is_named(monkeypatch):
    """Bee has images of its own; where one of ant's three shows it, and another shows ant, ant keeps one."""
    both = [Record(f"{k}", ("ant", "bee"), np.zeros((2, 4), np.float32), np.zeros(2, bool)) for k in range(3)]
    alone = [Record(f"bee{k}", ("bee",), np.zeros((1, 4), np.float32), np.zeros(1, bool)) for k in range(3)]
    monkeypatch.setattr(sampling, "ATTEMPTS", 1)
    with pytest.raises(ValueError, match=r"take all but 1 of the images of ant, and 2 queries are asked for"):
        draw(both + alone, both + alone, way=2, shots=(1,), query_images=2, episodes=30, classes=["ant", "bee"])


def test_queries_that_were_shown_are_named(pools):
    drawn = draw(*pools)
    first = drawn.episodes[0]
    (image, _), name = first.support[first.classes[0]][0], first.classes[1]
    leaking = replace(first, query={**first.query, name: (image, *first.query[name][1:])})
    assert not drawn.shown_queries()
    assert replace(drawn, episodes=(leaking, *drawn.episodes[1:])).shown_queries() == [
        f"episode 0: query image {image!r} of {name} gives it a support"
    ]


def test_all_boxes_of_a_support_image_come_before_the_next_image(pools):
    for episode in draw(*pools).episodes:
        for boxes in episode.support.values():
            images = [image for image, _ in boxes]
            assert images == sorted(images, key=images.index)


def test_every_class_is_drawn_about_equally_often(pools):
    drawn = draw(*pools, episodes=600).episodes
    counts = [sum(name in e.classes for e in drawn) for name in CLASSES]
    assert sum(counts) == 1800 and max(abs(c - 300) for c in counts) < 60  # about five standard deviations


def test_the_first_episodes_do_not_depend_on_how_many_nor_on_any_order(pools):
    whole = draw(*pools)
    for first in (1, 5):
        assert draw(*pools, episodes=first).episodes == whole.episodes[:first]
    shuffled = draw(pools[0][::-1], pools[1][::-1], classes=CLASSES[::-1], shots=(5, 1))
    assert shuffled == whole and shuffled.hash == whole.hash
    assert draw(*pools, seed=8).episodes != whole.episodes


def test_draws_are_fixed_for_ever():
    """Values from when this was written: published lists of episodes must stay what they are."""
    names = [(CLASSES[k % 6], CLASSES[k * k % 6]) for k in range(60)]
    records = [Record(f"i{k:02d}", pair, np.zeros((2, 4)), np.zeros(2, bool)) for k, pair in enumerate(names)]
    episode = draw(records, records, way=2, shots=(2,), query_images=1, classes=CLASSES[:4]).episodes[1]
    assert (episode.classes, episode.support, episode.query) == (
        ("bee", "dog"),
        {"bee": (("i23", 1), ("i55", 0)), "dog": (("i09", 0), ("i09", 1))},
        {"bee": ("i05",), "dog": ("i57",)},
    )
    # a seed that fills more than two words of numpy's, where zeros after the number of the episode would count
    episode = draw(records, records, way=2, shots=(2,), query_images=1, classes=CLASSES[:4], seed=2**70).episodes[0]
    assert (episode.classes, episode.support, episode.query) == (
        ("cow", "ant"),
        {"cow": (("i14", 0), ("i32", 0)), "ant": (("i12", 0), ("i12", 1))},
        {"cow": ("i08",), "ant": ("i30",)},
    )


def test_shots_are_paired_and_hashed_apart(pools):
    both, one_shot = draw(*pools), draw(*pools, shots=(1,))
    for a, b in zip(both.episodes, one_shot.episodes, strict=True):
        assert a.classes == b.classes and a.query == b.query
        assert all(a.support[name][:1] == b.support[name] for name in a.classes)
    assert both.hash_for(1) == one_shot.hash_for(1) != both.hash_for(5)
    assert both.hash != one_shot.hash
    with pytest.raises(ValueError, match=r"for \(1, 5\) shots, not for 10"):
        both.hash_for(10)


def test_hash_for_depends_on_the_pools(pools):
    drawn = draw(*pools)
    other = replace(drawn, pools={**drawn.pools, "query": {**drawn.pools["query"], "digest": "0"}})
    assert drawn.hash_for(1) != other.hash_for(1)


def test_a_file_keeps_everything(pools, tmp_path):
    drawn = draw(*pools, names={"support": ["2007_trainval"], "query": ["2007_test"]})
    save_episodes(drawn, tmp_path / "new" / "episodes.json")
    read = load_episodes(tmp_path / "new" / "episodes.json")
    assert read == drawn and read.hash == drawn.hash and read.hash_for(5) == drawn.hash_for(5)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["episodes.json"]
    assert json.loads((tmp_path / "new" / "episodes.json").read_text())["pools"]["query"]["names"] == ["2007_test"]


def test_broken_files_get_one_clear_message(pools, tmp_path):
    path = tmp_path / "episodes.json"
    with pytest.raises(FileNotFoundError, match=r"episodes\.json: no such file"):
        load_episodes(path)
    save_episodes(draw(*pools), path)
    text = path.read_text()
    path.write_text(text.replace('"q0', '"q1', 1))
    with pytest.raises(ValueError, match=r"episodes\.json: its content does not fit its hash"):
        load_episodes(path)
    for broken, message in (
        (text[:-50], "not a file of episodes"),
        ("[]", "not a file of episodes"),
        ("[" * 100_000, "not a file of episodes"),
        ('{"a": 1}', "there is no 'format'"),
        (text.replace("episodes-1", "episodes-9", 1), "its format is 'repmet-episodes-9'"),
        (text.replace('"way"', '"ways"', 1), "there is no 'way'"),
    ):
        path.write_text(broken)
        with pytest.raises(ValueError, match=message):
            load_episodes(path)


def test_another_data_set_is_one_clear_message(pools):
    drawn = draw(*pools, names={"support": ["train"], "query": ["test"]})
    with pytest.raises(ValueError, match=r"(?s)another data set.*80 support images \(train\).*the query images have no 'q"):
        drawn.check_against(pools[0], pool("other", 80))
    emptied = [replace(r, names=("nothing",) * len(r.names)) for r in pools[0]]
    with pytest.raises(ValueError, match=r"(?s)box \d of 's\d+' is no plain \w+ box.* more"):
        drawn.check_against(emptied, pools[1])
    hard = [replace(r, difficult=np.ones(len(r.names), bool)) for r in pools[1]]
    with pytest.raises(ValueError, match=r"query image 'q\d+' holds no plain"):
        drawn.check_against(pools[0], hard)


def test_a_class_without_enough_is_named_with_its_counts(pools):
    rare = [Record("x1", ("gnu", "gnu"), np.zeros((2, 4)), np.array([False, True]))]
    with pytest.raises(ValueError, match=r"(?s)2 of 7 classes.*gnu: 1 support boxes in 1 images.*hen: 0 support boxes in 0"):
        draw(pools[0] + rare, pools[1] + rare, classes=[*CLASSES[:5], "gnu", "hen"])


def test_supports_may_not_use_up_the_queries_of_a_shared_pool():
    records = [Record(f"i{k}", ("cow",), np.zeros((1, 4)), np.zeros(1, bool)) for k in range(6)]
    settings = {"way": 1, "classes": ["cow"], "episodes": 3}
    drawn = draw(records, records, shots=(2,), query_images=4, **settings)
    assert all(len(e.query["cow"]) == 4 for e in drawn.episodes)
    with pytest.raises(ValueError, match="6 query images, of which supports may take 3"):
        draw(records, records, shots=(3,), query_images=4, **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"way": 7}, "7-way episodes need 7 different classes, got 6"),
        ({"classes": ["ant", "ant", "bee"]}, "different classes"),
        ({"shots": ()}, "at least 1"),
        ({"shots": (0, 1)}, "at least 1"),
        ({"query_images": 0}, "at least 1"),
        ({"episodes": 0}, "at least 1"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_numbers_out_of_range(pools, changes, message):
    with pytest.raises(ValueError, match=message):
        draw(*pools, **changes)


def test_an_image_listed_twice(pools):
    with pytest.raises(ValueError, match="1 of the query images are listed twice, the first is 'q003'"):
        draw(pools[0], [*pools[1], pools[1][3]])


def test_needs_no_detector():
    code = (
        "import sys, repmet.detection.episodes.sampling; "
        "print(sorted({'torch', 'mmcv', 'mmdet', 'mmengine'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("order", [(1, 1, 5), (5, 1, 1), (1, 5, 1)])
def test_supports_are_counted_from_the_images_with_the_fewest_boxes(order):
    """Two shots may take the two images of one box each: of three images one is left to ask about, in whatever order."""
    records = [Record(f"i{k}", ("cow",) * n, np.zeros((n, 4)), np.zeros(n, bool)) for k, n in enumerate(order)]
    settings = {"way": 1, "classes": ["cow"], "episodes": 20, "shots": (2,)}
    assert all(len(e.query["cow"]) == 1 for e in draw(records, records, query_images=1, **settings).episodes)
    with pytest.raises(ValueError, match="7 support boxes in 3 images, 3 query images, of which supports may take 2"):
        draw(records, records, query_images=2, **settings)
