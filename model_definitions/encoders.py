"""Small convolutional encoders, trained from scratch."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def conv_block(in_channels: int, out_channels: int, *, stride: int = 1, pool: bool = True) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU and, with `pool`, 2x2 max pooling: the block of the Prototypical Networks' conv4."""
    layers = [
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))


class ConvPyramid(nn.Module):
    """conv4 as a fully convolutional pyramid: one block a level, each halving the sides; the first by its stride.

    Args:
        channels: width of every block.
        out_indices: the blocks whose outputs are returned; block i has stride 2^(i + 1).
        in_channels: of the images.

    Shape:
        (B, in_channels, H, W) -> per returned block (B, channels[i], ceil or floor of H / 2^(i+1), ...).

    Raises:
        ValueError: `out_indices` is empty or names a block that is not there.
    """

    def __init__(
        self, channels: Sequence[int] = (32, 64, 64, 64), out_indices: Sequence[int] = (1, 2, 3), in_channels: int = 3
    ) -> None:
        super().__init__()
        if not out_indices or not all(0 <= i < len(channels) for i in out_indices):
            raise ValueError(f"out_indices {tuple(out_indices)} must name some of the {len(channels)} blocks, from 0")
        widths = [in_channels, *channels]
        self.blocks = nn.ModuleList(
            conv_block(a, b, stride=2 if i == 0 else 1, pool=i > 0) for i, (a, b) in enumerate(pairwise(widths))
        )
        self.out_indices = tuple(out_indices)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        levels = []
        x = images
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return tuple(levels[i] for i in self.out_indices)
