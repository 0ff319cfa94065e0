"""Batch transforms by name: torchvision's v2 and a few of ours, from a list of {type: ..., arguments}.

    transform:
      - {type: RandomResizedCrop, size: 224, scale: [0.5, 1.0]}
      - {type: RandomHorizontalFlip}
      - {type: ToFloat}
      - {type: Normalize, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}

Every transform maps a batch (B, C, H, W) to another. Random ones draw for each image on its own, from torch's generator.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import TRANSFORMS, Registry
from torch import Tensor, nn
from torchvision.transforms import v2

from repmet.errors import UserError, did_you_mean

# A child, because mmcv gives the same names to its own transforms in mmengine's registry.
BATCH_TRANSFORMS = Registry("batch transform", parent=TRANSFORMS, scope="classification", locations=[__name__])

# Transforms of torchvision without a random number: the batch goes through at once.
DETERMINISTIC = ("CenterCrop", "Grayscale", "Normalize", "Pad", "RGB", "Resize")
# Those that draw: image by image, or else one draw would hold for the whole batch.
RANDOM = (
    "AugMix", "AutoAugment", "ColorJitter", "ElasticTransform", "GaussianBlur", "GaussianNoise", "RandAugment",
    "RandomAdjustSharpness", "RandomAffine", "RandomAutocontrast", "RandomChannelPermutation", "RandomEqualize",
    "RandomErasing", "RandomGrayscale", "RandomInvert", "RandomPerspective", "RandomPhotometricDistort",
    "RandomPosterize", "RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomVerticalFlip", "TrivialAugmentWide",
)  # fmt: skip

for _name in DETERMINISTIC + RANDOM:
    BATCH_TRANSFORMS.register_module(name=_name, module=getattr(v2, _name))


@BATCH_TRANSFORMS.register_module()
class ToFloat(nn.Module):
    """uint8 0..255 to float32 0..1."""

    def forward(self, images: Tensor) -> Tensor:
        return images.to(torch.float32) / 255


@BATCH_TRANSFORMS.register_module()
class InkIsOne(nn.Module):
    """Dark strokes on white, uint8, to float32 with ink 1 and paper 0: x -> 1 - x / 255 (Snell et al. 2017, their code)."""

    def forward(self, images: Tensor) -> Tensor:
        return 1 - images.to(torch.float32) / 255


@BATCH_TRANSFORMS.register_module()
class RandomHorizontalFlip(nn.Module):
    """Mirrors each image, left for right, with probability p; all images of a batch at once."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise UserError(f"RandomHorizontalFlip: p is a probability, got {p}")
        self.p = p

    def forward(self, images: Tensor) -> Tensor:
        flipped = torch.rand(len(images), 1, 1, 1) < self.p
        return torch.where(flipped, images.flip(-1), images)


@BATCH_TRANSFORMS.register_module()
class RandomCrop(nn.Module):
    """Cuts `size` pixels at a random place of each image, after `padding` black pixels on each side; a whole batch at once.

    Args:
        size: side of the piece, or (H, W). padding: on all four sides.

    Raises:
        ValueError: a size below 1 or a negative padding; when called, images smaller than the piece.
    """

    def __init__(self, size: int | Sequence[int], padding: int = 0) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1 or padding < 0:
            raise UserError(f"RandomCrop: size {size} is at least 1, one number or two, padding {padding} at least 0")
        self.padding = padding

    def forward(self, images: Tensor) -> Tensor:
        images = F.pad(images, [self.padding] * 4)
        count, room = len(images), [side - cut for side, cut in zip(images.shape[-2:], self.size, strict=True)]
        if min(room) < 0:
            raise UserError(f"RandomCrop: images of {tuple(images.shape[-2:])} hold no piece of {self.size}")
        rows, columns = (
            torch.randint(free + 1, (count, 1)) + torch.arange(cut)  # (B, H), (B, W)
            for free, cut in zip(room, self.size, strict=True)
        )
        pieces = images.permute(0, 2, 3, 1)[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
        return pieces.permute(0, 3, 1, 2)


class PerImage(nn.Module):
    """Applies a transform of one image to each image of a batch; all have to come out in one shape."""

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.transform(image) for image in images])


def build_transform(steps: Sequence[Mapping[str, Any]]) -> Callable[[Tensor], Tensor]:
    """The transforms of a list, one after another; an empty list changes nothing.

    Raises:
        ValueError: a step without `type`, a name that nothing is registered under (with the nearest), or arguments that the
            transform does not take.
    """
    return nn.Sequential(*[_build(step) for step in steps])


def _build(step: Mapping[str, Any]) -> nn.Module:
    arguments = dict(step)
    name = arguments.pop("type", None)
    known = BATCH_TRANSFORMS.module_dict
    if name not in known:
        raise UserError(f"no batch transform of type {name!r}; {did_you_mean(str(name), sorted(known), shown=50)}")
    try:
        transform = known[name](**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"transform {name}: {error}") from None
    return PerImage(transform) if name in RANDOM else transform
