"""The logarithm of sums of exponentials over groups of columns."""

import torch
from torch import Tensor


def grouped_logsumexp(values: Tensor, groups: Tensor, number: int) -> Tensor:
    """`log sum over {j: groups_j = g} exp(v_bj)`: values (B, n), groups (n,) with 0..number-1 -> (B, number).

    The largest of each group is taken out first, so that nothing overflows and a group of small ones is not lost. Every
    group has to have a member.
    """
    index = groups.expand_as(values)
    with torch.no_grad():
        largest = values.new_full((len(values), number), -torch.inf).scatter_reduce(1, index, values, "amax")
    sums = values.new_zeros(len(values), number).scatter_add(1, index, (values - largest.gather(1, index)).exp())
    return largest + sums.log()
