"""A tree over classes as tensors: what the classes cost to mistake for one another, groups of siblings, paths to the root.

Nodes are numbered: first the K classes, in their own order, then the inner nodes, a level after another; the root has no
number, for its probability is always 1. M is the number of nodes so.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from repmet.errors import UserError, did_you_mean


class Hierarchy:
    """The tree of some classes.

    Args:
        parents: for every node but the root, its parent. Every node that is no parent is a leaf.
        classes: the leaves to number, in this order; other leaves are left out, with the inner nodes that they leave
            empty. None: all leaves, sorted.
        lengths: of the edge from a node to its parent, >= 0; 1 for nodes that it does not name.

    Attributes:
        classes: K names. names: of all M nodes. root: its name.
        parent: (M,) number of each node's parent, -1 below the root.
        siblings: (M,) the group of a node: nodes with one parent have the same; groups count from 0.
        paths: (M, depth) a node, its parent, and so on up to the node below the root, then -1.
        heights: (M,) edges from a node down to its farthest leaf: 0 of a class.

    Raises:
        ValueError: a cycle, no root or several, fewer than two classes, a class that is no leaf, a class twice, a negative
            length.
    """

    def __init__(
        self,
        parents: Mapping[str, str],
        classes: Sequence[str] | None = None,
        lengths: Mapping[str, float] | None = None,
    ) -> None:
        roots = sorted(set(parents.values()) - parents.keys())
        chains = {node: _chain(node, parents) for node in parents}  # before the roots: a cycle has none
        if len(roots) != 1:
            raise UserError(f"a tree has one root, not {len(roots)}: {', '.join(map(repr, roots))}")
        leaves = sorted(parents.keys() - set(parents.values()))
        self.root, self.classes = roots[0], tuple(leaves if classes is None else classes)
        _check_classes(self.classes, leaves, parents)
        lengths = dict(lengths or {})
        if wrong := [node for node, length in lengths.items() if not length >= 0]:
            raise UserError(f"the edge above {wrong[0]!r} is {lengths[wrong[0]]} long; a length cannot be negative")
        inner = {node for name in self.classes for node in chains[name][1:]}
        self.names = (*self.classes, *sorted(inner, key=lambda node: (len(chains[node]), node)))
        number = {name: i for i, name in enumerate(self.names)}
        self.depth = max(len(chains[name]) for name in self.classes)
        rows = [[number[node] for node in chains[name]] for name in self.names]
        self.paths = torch.tensor([row + [-1] * (self.depth - len(row)) for row in rows])  # (M, depth)
        self.parent = torch.tensor([row[1] if len(row) > 1 else -1 for row in rows])  # (M,)
        self.siblings = self.parent.unique(return_inverse=True)[1]  # (M,)
        above = torch.tensor([float(lengths.get(name, 1.0)) for name in self.names])
        below = torch.cat([above, above.new_zeros(1)])  # the length of no edge, for -1
        self._to_root = below[self.paths].flip(1).cumsum(1).flip(1)  # (M, depth): from the path's l-th node to the root
        heights = [0] * len(self.names)
        for name in self.classes:
            for height, node in enumerate(chains[name]):
                heights[number[node]] = max(heights[number[node]], height)
        self.heights = torch.tensor(heights)
        self._root_height = self.depth

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    def distances(self) -> Tensor:
        """(K, K), the length of the way from a class to another: with edges of 1, their number."""
        to_root = self._to_root[: self.num_classes, 0]
        return to_root[:, None] + to_root - 2 * self._shared(self._to_root_of_nodes(), root=0.0)

    def common_heights(self) -> Tensor:
        """(K, K), the height of two classes' lowest common ancestor, in edges: 0 of a class and itself.

        How grave a mistake is, of Bertinetto et al., "Making better mistakes", CVPR 2020.
        """
        # heights grow towards the root, so the lowest ancestor is the least of those that are shared
        return -self._shared(-self.heights.double(), root=-float(self._root_height))

    def under(self) -> Tensor:
        """(M, K) bool: whether a class lies under a node, or is it."""
        class_paths = self.paths[: self.num_classes]  # (K, depth)
        inside = torch.zeros(len(self), self.num_classes, dtype=torch.bool)
        for level in class_paths.T:  # (K,)
            there = level >= 0
            inside[level[there], torch.nonzero(there).squeeze(1)] = True
        return inside

    def _to_root_of_nodes(self) -> Tensor:
        return self._to_root[:, 0].double()

    def _shared(self, values: Tensor, root: float) -> Tensor:
        """(K, K), the greatest of `values` (M,) among the common ancestors of two classes; each is its own ancestor."""
        best = torch.full((self.num_classes, self.num_classes), root, dtype=values.dtype)
        for value, inside in zip(values, self.under(), strict=True):
            members = inside.nonzero().squeeze(1)
            block = best[members[:, None], members]
            best[members[:, None], members] = block.clamp_min(value)
        return best.to(torch.get_default_dtype())


def _chain(node: str, parents: Mapping[str, str]) -> list[str]:
    """A node and its ancestors, without the root."""
    chain = [node]
    while (up := parents[chain[-1]]) in parents:
        if up in chain:
            circle = [*chain[chain.index(up) :], up]
            raise UserError(f"the tree has a cycle: {' -> '.join(circle)}")
        chain.append(up)
    return chain


def _check_classes(classes: Sequence[str], leaves: Sequence[str], parents: Mapping[str, str]) -> None:
    known = set(leaves)
    for name in classes:
        if name in known:
            continue
        if name in parents or name in parents.values():
            raise UserError(f"class {name!r} is an inner node of the tree; a class is a leaf")
        raise UserError(f"the tree has no leaf {name!r}; {did_you_mean(name, leaves, shown=5)}")
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise UserError(f"class {twice!r} is given twice")
    if len(classes) < 2:
        raise UserError(f"a tree tells at least 2 classes apart, not {len(classes)}")
