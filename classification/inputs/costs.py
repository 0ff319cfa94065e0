"""What mistakes cost: the section `costs` of an experiment as a matrix over the classes of a data set."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from repmet.data.readers.trees import read_tree
from repmet.errors import UserError
from repmet.model_definitions.hierarchy import Hierarchy

KINDS = ("tree", "numbers")


class Costs(NamedTuple):
    """D: (K, K), 0 on the diagonal. hierarchy: the tree that it is of; None where it is of none."""

    D: Tensor
    hierarchy: Hierarchy | None


def read_costs(section: Mapping[str, Any], classes: Sequence[str]) -> Costs:
    """The costs of mistaking these classes for each other.

    Args:
        section: {tree: a file, or the name of one in data/classes/trees}: the length of the way from a class to another in
            the tree (`data.readers.trees`); or {numbers: true}: |a - b| of classes whose names are numbers.
        classes: K names, in the order of their labels.

    Raises:
        ValueError: neither or both are given; a class that the tree does not have, or whose name is no number; a tree that
            is none. FileNotFoundError: there is no such tree.
    """
    kinds = [kind for kind in KINDS if section.get(kind)]
    if len(kinds) != 1 or len(section) != 1:
        raise UserError(f"costs is one of {', '.join(KINDS)}, not {', '.join(map(str, section)) or 'empty'}")
    if kinds == ["numbers"]:
        try:
            numbers = torch.tensor([float(name) for name in classes])
        except ValueError as error:
            raise UserError(f"costs.numbers: the classes are no numbers: {error}") from None
        return Costs((numbers[:, None] - numbers).abs(), None)
    tree = read_tree(section["tree"])
    try:
        hierarchy = Hierarchy(tree.parents, classes, tree.lengths)
    except ValueError as error:
        raise UserError(f"costs.tree {section['tree']}: {error}") from None
    return Costs(hierarchy.distances(), hierarchy)
