"""Groups of classes, harder to tell apart than any: Omniglot's alphabets, by what stands before "/" in a class's name."""

from collections.abc import Sequence

import torch
from torch import Tensor

from repmet.errors import UserError


def class_groups(classes: Sequence[str]) -> Tensor:
    """(N,) the number of each class's group, 0 .. G-1; `Greek/character01` is of the group `Greek`.

    Raises:
        ValueError: a class whose name has no "/".
    """
    if alone := [name for name in classes if "/" not in name]:
        raise UserError(f"class {alone[0]!r} is of no group: groups stand before a / in the names of their classes")
    names = [name.partition("/")[0] for name in classes]
    numbers = {name: i for i, name in enumerate(sorted(set(names)))}
    return torch.tensor([numbers[name] for name in names])
