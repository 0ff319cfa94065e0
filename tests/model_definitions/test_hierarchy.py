"""Trees as tensors, against a breadth-first search over their edges."""

import random
from collections import deque
from itertools import pairwise

import pytest
import torch

from repmet.model_definitions.hierarchy import Hierarchy

# the visual tree of the digits: three levels of edges
DIGITS = {
    **{"1": "17", "7": "17", "4": "4s", "0": "069", "6": "069", "9": "069", "3": "38", "8": "38", "2": "25", "5": "25"},
    **{"17": "straight", "4s": "straight", "069": "round", "38": "round", "25": "both"},
    **{"straight": "digit", "round": "digit", "both": "digit"},
}


def walked(parents: dict[str, str], lengths: dict[str, float], start: str) -> dict[str, float]:
    """Lengths of the ways from a node to all others, by walking."""
    edges: dict[str, list[tuple[str, float]]] = {}
    for child, parent in parents.items():
        length = lengths.get(child, 1.0)
        edges.setdefault(child, []).append((parent, length))
        edges.setdefault(parent, []).append((child, length))
    distances, waiting = {start: 0.0}, deque([start])
    while waiting:
        node = waiting.popleft()
        for other, length in edges[node]:
            if other not in distances:
                distances[other] = distances[node] + length
                waiting.append(other)
    return distances


def random_tree(leaves: int, seed: int) -> dict[str, str]:
    """Leaves hung below random inner nodes, these below one another; depths differ."""
    draw = random.Random(seed)
    parents = {
        f"n{i}": "root" if i == 0 else draw.choice(["root", *(f"n{j}" for j in range(i))]) for i in range(leaves // 2)
    }
    for i in range(leaves):
        parents[f"leaf{i:02d}"] = draw.choice(["root", *(f"n{j}" for j in range(leaves // 2))])
    while bare := [n for n in parents if n.startswith("n") and n not in parents.values()]:
        for node in bare:
            del parents[node]
    return parents


def test_the_digits():
    tree = Hierarchy(DIGITS, [str(i) for i in range(10)])
    D = tree.distances()
    assert sorted(D.unique().tolist()) == [0, 2, 4, 6]
    assert [D[1, 7], D[1, 4], D[0, 3], D[3, 8], D[2, 5], D[2, 3]] == [2, 4, 4, 2, 2, 6]
    assert torch.equal(tree.common_heights(), D / 2)
    assert (len(tree), tree.num_classes, tree.depth, tree.root) == (18, 10, 3, "digit")
    assert tree.names[:10] == tuple("0123456789")
    assert [tree.names[i] for i in tree.paths[6]] == ["6", "069", "round"]
    groups = {
        tuple(sorted(tree.names[i] for i in (tree.siblings == g).nonzero().squeeze(1))) for g in tree.siblings.unique()
    }
    assert groups == {
        ("0", "6", "9"), ("3", "8"), ("1", "7"), ("4",), ("2", "5"),
        ("069", "38"), ("17", "4s"), ("25",), ("both", "round", "straight"),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_random_trees(seed):
    parents = random_tree(14, seed)
    draw = random.Random(seed)
    lengths = {node: draw.choice([0.5, 1.0, 2.25]) for node in parents}
    order = sorted({f"leaf{i:02d}" for i in range(14)}, key=lambda _: draw.random())
    tree = Hierarchy(parents, order, lengths)
    D = tree.distances()
    for a, start in enumerate(order):
        distances = walked(parents, lengths, start)
        assert D[a].tolist() == pytest.approx([distances[name] for name in order])
    for k, name in enumerate(tree.names):
        path = [tree.names[i] for i in tree.paths[k] if i >= 0]
        assert path[0] == name and parents[path[-1]] == "root"
        assert all(parents[low] == high for low, high in pairwise(path))
        assert int(tree.parent[k]) == (tree.names.index(parents[name]) if parents[name] != "root" else -1)
    ways = {leaf: [tree.names[i] for i in tree.paths[k] if i >= 0] + ["root"] for k, leaf in enumerate(order)}
    under = tree.under()
    for k, name in enumerate(tree.names):
        assert {order[i] for i in under[k].nonzero().squeeze(1)} == {leaf for leaf, way in ways.items() if name in way}
    height = {n: max(way.index(n) for way in ways.values() if n in way) for n in [*tree.names, "root"]}
    assert tree.heights.tolist() == [height[name] for name in tree.names]
    common = tree.common_heights()
    for a, first in enumerate(order):
        for b, second in enumerate(order):
            assert common[a, b] == min(height[n] for n in ways[first] if n in ways[second])


def test_some_classes_of_a_larger_tree():
    tree = Hierarchy(DIGITS, ["7", "3", "1"])
    assert set(tree.names) == {"7", "3", "1", "17", "straight", "38", "round"}
    assert tree.distances().tolist() == [[0, 6, 2], [6, 0, 6], [2, 6, 0]]


@pytest.mark.parametrize(
    ("parents", "classes", "message"),
    [
        ({"a": "b", "b": "c", "c": "a"}, None, "the tree has a cycle: a -> b -> c -> a"),
        ({"a": "r", "b": "r", "x": "y", "y": "x"}, None, "the tree has a cycle"),
        ({"a": "a"}, None, "the tree has a cycle: a -> a"),
        ({"a": "r", "b": "s"}, None, "one root, not 2: 'r', 's'"),
        ({"owl": "r", "gull": "r"}, ["owl", "gul"], "no leaf 'gul'; did you mean 'gull'"),
        ({"owl": "r", "gull": "r"}, ["owl", "xyz"], "no leaf 'xyz'; there are: gull, owl"),
        ({"owl": "bird", "gull": "bird", "bird": "r", "cat": "r"}, ["bird", "cat"], "'bird' is an inner node"),
        ({"owl": "r", "gull": "r"}, ["owl", "owl"], "'owl' is given twice"),
        ({"owl": "r", "gull": "r"}, ["owl"], "at least 2 classes apart, not 1"),
    ],
)
def test_what_is_no_tree(parents, classes, message):
    with pytest.raises(ValueError, match=message):
        Hierarchy(parents, classes)


def test_a_negative_length():
    with pytest.raises(ValueError, match="above 'owl' is -1 long"):
        Hierarchy({"owl": "r", "gull": "r"}, lengths={"owl": -1})
