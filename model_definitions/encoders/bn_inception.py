"""BN-Inception: GoogLeNet with batch normalisation and with pairs of 3x3 convolutions for its 5x5 ones.

S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015, figure 5. torchvision's `googlenet` is the older network, with batch
normalisation added. The weights that metric learning starts from come from Caffe; two of their blocks (4c, 4d) have 128
pooled channels where the paper's table has 96, and so have they here.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.encoders.encoder import Encoder
from repmet.model_definitions.encoders.pretrained import load_weights

# Channels by block: 1x1; 3x3 reduced, 3x3; double 3x3 reduced, double 3x3; pooled. A block without 1x1 halves the sides, and
# passes on the maxima of its input.
BLOCKS = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}
_MAX_POOLED = "5b"  # the other blocks that keep their sides pool by means
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # images come normalised by these
_CAFFE_MEAN = (104.0, 117.0, 128.0)  # of blue, green, red in 0..255, which Caffe subtracted


class BNInception(Encoder):
    """BN-Inception up to its last map, averaged: (B, 3, H, W) -> (B, 1024), 224 pixels as trained.

    Images come normalised by ImageNet's mean and standard deviation; they are converted inside to what the weights were
    trained on (blue, green, red in 0..255 less their means), with or without weights.

    Args:
        weights: None starts at random; else a file with a state dict by the layers' names in Caffe, such as
            `inception_3a_1x1.weight`, as the packages pretrainedmodels and others have it (bn_inception-52deb4733.pth). Its
            classifier is left out.
        fresh, frozen, frozen_statistics: as for `TorchvisionEncoder`.

    Raises:
        ValueError: weights are missing, or of another shape. FileNotFoundError: the file is not there.
    """

    factor: Tensor
    offset: Tensor

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        fresh: tuple[str, ...] = (),
        frozen: bool = False,
        frozen_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = _Trunk()
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.out_channels = 1024
        scale, mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (_CAFFE_MEAN, _MEAN, _STD))
        self.register_buffer("factor", 255 * std, persistent=False)
        self.register_buffer("offset", 255 * mean - scale.flip(1), persistent=False)
        if weights is not None:
            load_weights(self.trunk, Path(weights).expanduser(), "BNInception", tuple(fresh))
        elif fresh:
            raise UserError(f"fresh names the layers that a file of weights leaves out; there is no file: weights={weights}")
        if frozen_statistics:
            self.freeze_statistics()
        if frozen:
            self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images * self.factor + self.offset).flip(1)
        return self.trunk(pixels).mean((2, 3))  # (B, 1024)


class _Trunk(nn.Module):
    """Convolutions, each followed by batch norm, under their names in Caffe."""

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1_7x7_s2", 3, 64, 7)
        self._add("conv2_3x3_reduce", 64, 64, 1)
        self._add("conv2_3x3", 64, 192, 3)
        channels = 192
        for block, (single, reduce, three, double_reduce, double, pooled) in BLOCKS.items():
            name = f"inception_{block}_"
            if single:
                self._add(f"{name}1x1", channels, single, 1)
            self._add(f"{name}3x3_reduce", channels, reduce, 1)
            self._add(f"{name}3x3", reduce, three, 3)
            self._add(f"{name}double_3x3_reduce", channels, double_reduce, 1)
            self._add(f"{name}double_3x3_1", double_reduce, double, 3)
            self._add(f"{name}double_3x3_2", double, double, 3)
            if pooled:
                self._add(f"{name}pool_proj", channels, pooled, 1)
            channels = single + three + double + (pooled or channels)

    def _add(self, name: str, channels: int, out: int, kernel: int) -> None:
        conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.add_module(name, conv)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(out))

    def _run(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        conv, norm = getattr(self, name), getattr(self, f"{name}_bn")
        return F.relu(norm(F.conv2d(x, conv.weight, conv.bias, stride, conv.padding)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self._run("conv1_7x7_s2", x, 2), 3, 2, ceil_mode=True)
        x = self._run("conv2_3x3", self._run("conv2_3x3_reduce", x))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for block, sizes in BLOCKS.items():
            x = self._block(f"inception_{block}_", x, halves=sizes[0] == 0)
        return x  # (B, 1024, H / 32, W / 32)

    def _block(self, name: str, x: Tensor, halves: bool) -> Tensor:
        stride = 2 if halves else 1
        three = self._run(f"{name}3x3", self._run(f"{name}3x3_reduce", x), stride)
        double = self._run(f"{name}double_3x3_1", self._run(f"{name}double_3x3_reduce", x))
        double = self._run(f"{name}double_3x3_2", double, stride)
        if halves:
            return torch.cat([three, double, F.max_pool2d(x, 3, 2, ceil_mode=True)], 1)
        pool = F.max_pool2d if _MAX_POOLED in name else F.avg_pool2d
        pooled = self._run(f"{name}pool_proj", pool(x, 3, 1, 1))
        return torch.cat([self._run(f"{name}1x1", x), three, double, pooled], 1)
