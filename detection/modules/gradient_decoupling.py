"""Gradient decoupling: proposal network and box head learn at full strength and pull at the backbone less (DeFRCN).

Qiao et al., "DeFRCN: Decoupled Faster R-CNN for few-shot object detection", ICCV 2021. A proposal network that is free to
shape the backbone teaches it that what is not of a base class is background.
"""

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor, nn

from repmet.detection.modules.roi_extractor import FusedRoIExtractor
from repmet.errors import UserError


class _ScaledGradient(torch.autograd.Function):
    """The identity, with the gradient times a factor."""

    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


class GradientDecoupled(nn.Module):
    """Gradient decoupled layer: `A x` going forward, `factor * dA/dx` going back (DeFRCN, eq. 3 and 4).

    `A` is an affine map of every channel, starts as the identity and learns at full strength; what lies before it learns by
    `factor` of the gradient.

    Args:
        channels: C of the maps (B, C, H, W).
        factor: in [0, 1]; at 0 nothing of the gradient passes.

    Raises:
        ValueError: `factor` is outside.
    """

    def __init__(self, channels: int, factor: float) -> None:
        super().__init__()
        if not 0 <= factor <= 1:
            raise UserError(f"a gradient's factor is in [0, 1], not {factor}")
        self.factor = factor
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return _ScaledGradient.apply(x, self.factor) * self.weight[:, None, None] + self.bias[:, None, None]


@MODELS.register_module()
class DecoupledRPNHead(RPNHead):
    """mmdet's `RPNHead` behind a `GradientDecoupled` layer, which all levels share.

    Args:
        gradient: the layer's factor; 0 in DeFRCN.
        in_channels, args, kwargs: as `RPNHead`.
    """

    def __init__(self, in_channels: int, *args, gradient: float = 0.0, **kwargs) -> None:
        super().__init__(in_channels, *args, **kwargs)
        self.decoupled = GradientDecoupled(in_channels, gradient)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness and box deltas for each level of `x`."""
        return super().forward(tuple(self.decoupled(level) for level in x))


@MODELS.register_module()
class DecoupledRoIExtractor(FusedRoIExtractor):
    """`FusedRoIExtractor` behind a `GradientDecoupled` layer, so that the whole box head is.

    Args:
        gradient: the layer's factor; in DeFRCN 0.75 in the base training and 0.01 in fine-tuning.
        args, kwargs: as `FusedRoIExtractor`.
    """

    def __init__(self, *args, gradient: float = 0.75, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.decoupled = GradientDecoupled(self.out_channels, gradient)

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Levels and RoIs (R, 5) -> RoI features (R, C, h, w)."""
        return super().forward(tuple(self.decoupled(level) for level in feats), rois, roi_scale_factor)
