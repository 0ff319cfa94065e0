"""The range of labels, checked alike by everything that takes some."""

import torch
from torch import Tensor

from repmet.errors import UserError


def check_range(labels: Tensor, classes: int, what: str = "labels") -> None:
    """Raises ValueError where a label is outside 0..classes-1.

    Left out while `torch.compile` traces: what to do would depend on values that it does not know.
    """
    if torch.compiler.is_compiling() or not labels.numel():
        return
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or high >= classes:
        raise UserError(f"{what} must lie in 0..{classes - 1}, not {low}..{high}")
