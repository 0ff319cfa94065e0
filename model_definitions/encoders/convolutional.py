"""Encoders trained from scratch: the conv4 of few-shot learning, its pyramid for detection, LeNet for digits."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.encoders.encoder import Encoder


def conv_block(in_channels: int, out_channels: int, *, stride: int = 1, pool: bool = True) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU and, with `pool`, 2x2 max pooling: the block of the Prototypical Networks' conv4.

    Pooling comes before the ReLU: the two commute, and the ReLU then has a quarter of the work. The convolution has no
    bias: batch norm takes it away.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        *([nn.MaxPool2d(2)] if pool else []),
        nn.ReLU(inplace=True),
    )


class ConvPyramid(nn.Module):
    """conv4 as a fully convolutional pyramid: one block a level, each halving the sides, by its stride or by pooling.

    Args:
        channels: width of every block.
        out_indices: the blocks whose outputs are returned; block i has stride 2^(i + 1).
        in_channels: of the images.
        strided: so many first blocks halve by their stride, the others by pooling. A strided block costs a quarter.

    Shape:
        (B, in_channels, H, W) -> per returned block (B, channels[i], ceil or floor of H / 2^(i+1), ...).

    Raises:
        ValueError: `out_indices` is empty or names a block that is not there.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 64, 64),
        out_indices: Sequence[int] = (1, 2, 3),
        in_channels: int = 3,
        strided: int = 1,
    ) -> None:
        super().__init__()
        if not out_indices or not all(0 <= i < len(channels) for i in out_indices):
            raise UserError(f"out_indices {tuple(out_indices)} must name some of the {len(channels)} blocks, from 0")
        widths = [in_channels, *channels]
        self.blocks = nn.ModuleList(
            conv_block(a, b, stride=2 if i < strided else 1, pool=i >= strided) for i, (a, b) in enumerate(pairwise(widths))
        )
        self.out_indices = tuple(out_indices)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        levels = []
        x = images
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return tuple(levels[i] for i in self.out_indices)


class Conv4(Encoder):
    """The encoder of Prototypical Networks (Snell et al. 2017, section 3): four `conv_block`s, flattened. No normalisation.

    Its weights lie in channels-last memory, which takes half the time on a CPU.

    Args:
        in_channels: 1 for Omniglot, 3 for colour.
        width: channels of every block.
        image_size: side of the square images, in pixels, at least 16.
        frozen: see `Encoder.freeze`.

    Shape:
        (B, in_channels, S, S) -> (B, width * (S // 16)^2): 64 for 28 pixels, 1600 for 84.

    Raises:
        ValueError: a size out of range, or images of another shape.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, image_size: int = 28, *, frozen: bool = False) -> None:
        super().__init__()
        if in_channels < 1 or width < 1 or image_size < 16:
            raise UserError(
                "Conv4 halves its images four times: it needs image_size >= 16, width and in_channels >= 1, "
                f"not {image_size}, {width} and {in_channels}"
            )
        self.blocks = nn.Sequential(*(conv_block(a, b) for a, b in pairwise([in_channels] + [width] * 4)))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.image_shape = (in_channels, image_size, image_size)
        self.out_channels = width * (image_size // 16) ** 2
        if frozen:
            self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        _check_images(self, images)
        return self.blocks(images).flatten(1)  # (B, e)


class LeNet(Encoder):
    """The convolutions of LeNet as the Magnet loss' codes use them on MNIST: two of 5x5 with ReLU and 2x2 max pooling.

    Args:
        in_channels: 1 for digits.
        widths: channels of the two convolutions.
        image_size: side of the square images, in pixels, at least 4.
        frozen: see `Encoder.freeze`.

    Shape:
        (B, in_channels, S, S) -> (B, widths[1] * (S // 4)^2): 3136 for 28 pixels; the fully connected layer is the head's.

    Raises:
        ValueError: a size out of range, or images of another shape.
    """

    def __init__(
        self, in_channels: int = 1, widths: Sequence[int] = (32, 64), image_size: int = 28, *, frozen: bool = False
    ) -> None:
        super().__init__()
        if len(widths) != 2 or min(in_channels, *widths) < 1 or image_size < 4:
            raise UserError(
                "LeNet has two widths >= 1, in_channels >= 1 and image_size >= 4, "
                f"not {tuple(widths)}, {in_channels} and {image_size}"
            )
        layers: list[nn.Module] = []
        for a, b in pairwise([in_channels, *widths]):
            layers += [nn.Conv2d(a, b, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.image_shape = (in_channels, image_size, image_size)
        self.out_channels = widths[1] * (image_size // 4) ** 2
        if frozen:
            self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        _check_images(self, images)
        return self.layers(images).flatten(1)  # (B, e)


def _check_images(encoder: Conv4 | LeNet, images: Tensor) -> None:
    if images.dim() != 4 or images.shape[1:] != encoder.image_shape:
        expected, name = ", ".join(map(str, encoder.image_shape)), type(encoder).__name__
        raise UserError(f"{name} was built for images (B, {expected}), not {tuple(images.shape)}")
