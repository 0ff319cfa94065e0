"""How far a mean can be trusted: over episodes, over images, over training seeds.

Few-shot papers print `mean +- 1.96 s / sqrt(n)` over episodes (Snell et al., "Prototypical Networks for Few-shot Learning",
NeurIPS 2017, among others), with the standard deviation s of n - 1 degrees of freedom. Three seeds are too few for the
normal distribution; `seed_interval` takes Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NORMAL_QUANTILE = 1.96  # as published, not 1.95996: figures are to be comparable


class Estimate(NamedTuple):
    """A mean, the half-width of its 95 % interval in the same unit, and how many values it was taken over.

    One value says nothing about the spread: its `ci95` is infinite.
    """

    mean: float
    ci95: float
    n: int


def mean_interval(values: Tensor | Sequence[float]) -> Estimate:
    """Mean and `1.96 s / sqrt(n)`, with `s^2 = sum (x - mean)^2 / (n - 1)`.

    Args:
        values: (n,) independent figures: accuracies of episodes, or 0 and 1 for every image of a test set.

    Raises:
        ValueError: no value, more than one dimension, or one that is not finite.
    """
    values = _checked(values)
    return Estimate(values.mean().item(), NORMAL_QUANTILE * _standard_error(values), len(values))


def seed_interval(values: Tensor | Sequence[float]) -> Estimate:
    """Mean and `t s / sqrt(n)`, t the 97.5 % point of Student's distribution with n - 1 degrees of freedom.

    For few values, such as one figure per training seed: with three, t is 4.30.

    Raises:
        ValueError: no value, more than one dimension, or one that is not finite.
    """
    from scipy.special import stdtrit  # only where seeds are summed up

    values = _checked(values)
    n = len(values)
    return Estimate(values.mean().item(), float(stdtrit(n - 1, 0.975)) * _standard_error(values) if n > 1 else math.inf, n)


def paired_difference(first: Tensor | Sequence[float], second: Tensor | Sequence[float]) -> Estimate:
    """Mean of `first - second` over the same episodes, with its interval.

    Episodes differ in difficulty, which both meet alike: the interval of the differences is narrower than what the two
    single ones suggest. The first is better at this level where `mean > ci95`.

    Args:
        first, second: (n,) figures of two checkpoints, episode by episode; that the episodes are the same is the caller's
            part (`Episodes.hash`).

    Raises:
        ValueError: different numbers of values, or what `mean_interval` refuses.
    """
    a, b = _checked(first), _checked(second)
    if len(a) != len(b):
        raise ValueError(f"a paired difference takes the same episodes twice, not {len(a)} and {len(b)} values")
    return mean_interval(a - b)


def _checked(values: Tensor | Sequence[float]) -> Tensor:
    values = torch.as_tensor(values).detach().double().cpu()
    if values.dim() != 1 or not len(values):
        raise ValueError(f"an interval is taken over values (n,), n at least 1, not {tuple(values.shape)}")
    if not values.isfinite().all():
        raise ValueError(f"{int((~values.isfinite()).sum())} of {len(values)} values are not finite")
    return values


def _standard_error(values: Tensor) -> float:
    return (values.std(correction=1) / math.sqrt(len(values))).item() if len(values) > 1 else math.inf
