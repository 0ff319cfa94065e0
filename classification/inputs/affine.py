"""Small affine changes of a whole batch at once: as transform while training, as several views of an image when testing."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.classification.inputs.transforms import BATCH_TRANSFORMS
from repmet.errors import UserError


@BATCH_TRANSFORMS.register_module()
class AffineJitter(nn.Module):
    """Turns, scales, shears and moves each image (B, C, S, S) on its own, in one bilinear resampling; outside is 0.

    A point p of the result shows the point `R(a) H(h) diag(s_x, s_y) p + t` of the image, all drawn uniformly. What
    torchvision's RandomAffine does, without its loop over the images, and with two scales.

    Args:
        degrees: |a| at most. scale: range of s_x and of s_y. shear: |h| at most, degrees.
        translate: |t| at most, as a part of the side.

    Raises:
        ValueError: a negative number, or scales that are no range of positive numbers; images that are not floating point.
    """

    def __init__(
        self, degrees: float = 0.0, scale: Sequence[float] = (1.0, 1.0), shear: float = 0.0, translate: float = 0.0
    ) -> None:
        super().__init__()
        if min(degrees, shear, translate) < 0 or len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise UserError("AffineJitter: degrees, shear and translate are at least 0, scale a range of positive numbers")
        self.degrees, self.scale, self.shear, self.translate = degrees, tuple(scale), shear, translate

    def forward(self, images: Tensor) -> Tensor:
        if not images.is_floating_point():
            raise UserError("AffineJitter takes floating point images: ToFloat or InkIsOne comes before it")
        grid = F.affine_grid(self.matrices(len(images)), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)

    def matrices(self, count: int) -> Tensor:
        """(count, 2, 3) from places of the result to places of the image, both from -1 to 1."""
        angle, shear = (math.radians(limit) * _symmetric(count) for limit in (self.degrees, self.shear))
        low, high = self.scale
        scales = low + (high - low) * torch.rand(count, 2)
        moves = 2 * self.translate * torch.stack([_symmetric(count), _symmetric(count)], 1)
        cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
        turned = torch.stack([cos, cos * tan - sin, sin, sin * tan + cos], 1).view(count, 2, 2)
        return torch.cat([turned * scales[:, None, :], moves[:, :, None]], 2)


def _symmetric(count: int) -> Tensor:
    return 2 * torch.rand(count) - 1
