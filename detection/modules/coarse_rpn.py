"""A region proposal network that leaves the finest level of a pyramid to the RoI layers."""

from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class CoarseRPNHead(RPNHead):
    """mmdet's `RPNHead`, with its arguments, on all levels but the finest.

    The finest level holds three quarters of the places, so proposals from the others cost a quarter of the time, while
    regions are still read from the finest where details are thin. The anchor generator's `strides` are those of the
    levels that are left.
    """

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness and box deltas for each level of `x` but the first, which is the finest."""
        return super().forward(x[1:])
