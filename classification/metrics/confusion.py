"""Which classes are taken for which."""

import torch
from torch import Tensor


def confusion(true: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """(N, N), how often class i was taken for class j."""
    return torch.bincount(true * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def most_confused(counts: Tensor, number: int) -> list[tuple[int, int, int]]:
    """The pairs (true class, taken for, how many) with the most errors, the most first; of equal ones the first classes."""
    errors = counts.clone().fill_diagonal_(0).flatten()
    order = errors.argsort(descending=True, stable=True)[:number].tolist()
    return [(*divmod(place, len(counts)), int(errors[place])) for place in order if errors[place] > 0]
