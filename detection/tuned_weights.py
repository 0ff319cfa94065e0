"""Weights that fine-tuning has changed: put into a detector, and taken out again bit for bit."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from repmet.detection.scoring.finetune import trained_parameters


class TunedWeights:
    """Keeps what the tuned weights of a model have replaced.

    Args:
        model: with the weights that its checkpoint brought.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._replaced: dict[str, Tensor] = {}

    def use(self, weights: Mapping[str, Tensor]) -> None:
        """Puts these, by name, over the weights of the checkpoint, in the place of those that were used before."""
        self._put(self._replaced)
        self._replaced = self._now(weights)
        self._put(weights)

    @contextlib.contextmanager
    def as_trained(self) -> Iterator[None]:
        """The weights of the checkpoint; afterwards, whatever happened, those that were there."""
        tuned = self._now(self._replaced)
        self._put(self._replaced)
        try:
            yield
        finally:
            self._put(tuned)

    def strange(self, weights: Mapping[str, Tensor]) -> str | None:
        """The first of these that is no weight of the model, or of another shape."""
        state = self.model.state_dict()
        return next((name for name, w in weights.items() if name not in state or state[name].shape != w.shape), None)

    def _now(self, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
        state = self.model.state_dict()
        return {name: state[name].detach().clone() for name in names}

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        state = self.model.state_dict()
        for name, value in weights.items():
            state[name].copy_(value)


def tuned_weights(model: nn.Module, part: str) -> dict[str, Tensor]:
    """The weights that fine-tuning this part of a detector trains, but for the representatives, by name."""
    trained = {id(p) for p in trained_parameters(model, part)}
    named = {name: p for name, p in model.named_parameters() if id(p) in trained}
    return {name: p.detach().clone().cpu() for name, p in named.items() if "bbox_head.representatives" not in name}
