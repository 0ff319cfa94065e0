"""How an experiment stands over what it inherits."""

import copy
from collections.abc import Mapping
from typing import Any


def merge(child: Mapping, base: Mapping) -> dict:
    """`child` over `base`, mapping by mapping; lists and values are replaced."""
    merged = dict(base)
    for key, value in child.items():
        inherited = merged.get(key)
        if isinstance(value, Mapping) and isinstance(inherited, Mapping) and not value.get("_delete_", False):
            merged[key] = merge(value, inherited)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def without_marks(node: Any) -> Any:
    """The same without `_delete_`."""
    if isinstance(node, Mapping):
        return {key: without_marks(value) for key, value in node.items() if key != "_delete_"}
    if isinstance(node, list | tuple):
        return type(node)(without_marks(value) for value in node)
    return node
