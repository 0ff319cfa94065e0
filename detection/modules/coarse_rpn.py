"""A region proposal network that leaves the finest levels of a pyramid to the RoI layers."""

from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class CoarseRPNHead(RPNHead):
    """mmdet's `RPNHead` on all levels but the finest.

    The finest level holds three quarters of the places, so proposals from the others cost a quarter of the time, while
    regions are still read from the finest where details are thin. The anchor generator's `strides` are those of the
    levels that are left.

    Args:
        skip_levels: so many of the finest levels get no anchors.
        args, kwargs: as `RPNHead`.
    """

    def __init__(self, *args, skip_levels: int = 1, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.skip_levels = skip_levels

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness and box deltas for each level of `x` but the first `skip_levels`, finest first."""
        return super().forward(x[self.skip_levels :])
