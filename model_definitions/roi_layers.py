"""RoIAlign, RoIPool and non-maximum suppression: the Python face of `csrc`.

Boxes for pooling are (R, 5): image index, x1, y1, x2, y2 in pixels of the image; `spatial_scale` takes them to the feature
map. Boxes for suppression are (N, 4): x1, y1, x2, y2. Edges are real numbers, so a box's width is x2 - x1, without + 1.

Where `csrc` is not compiled (for the device in question) the same functions are served by torchvision, with one warning;
`backend()` says which it is. Importing this module registers the gradients and shape functions of `torch.ops.repmet`, so the
operators work under autograd, `torch.compile` and `torch.library.opcheck`.

Half precision: features may be half or bfloat16 on any device (AMP), beside boxes of the same dtype or float32. Coordinates
and sums are float32 and the result has the dtype of the features. Gradients go to the features only, never to the boxes.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from repmet.errors import UserError

from . import roi_gradients
from . import roi_layers_torchvision as fallback

# REPMET_CSRC: another folder of compiled libraries, such as a build with sanitizers.
_FOLDER = Path(os.environ.get("REPMET_CSRC") or Path(__file__).resolve().parents[1] / "csrc")
_NOTICED: set[str] = set()


def _load() -> tuple[frozenset[str], str]:
    """Loads what is compiled: the devices it serves, and why others are not served."""
    devices: list[str] = []
    for device, wanted in (("cpu", True), ("cuda", torch.version.cuda is not None)):
        library = _FOLDER / f"_{device}.so"
        if not wanted or not library.is_file():
            continue
        try:
            torch.ops.load_library(str(library))
        except OSError as error:
            return frozenset(devices), f"{library} does not load ({error})"
        devices.append(device)
    return frozenset(devices), f"csrc is not compiled for it in {_FOLDER}"


_DEVICES, _REASON = _load()
if _DEVICES:
    roi_gradients.register()


def backend(device: str | torch.device = "cpu") -> str:
    """Who serves tensors on `device`: 'csrc' or 'torchvision'."""
    return "csrc" if torch.device(device).type in _DEVICES else "torchvision"


@contextmanager
def served_by_torchvision() -> Iterator[None]:
    """Inside of it torchvision serves all devices, without a warning: for comparisons."""
    global _DEVICES
    devices, noticed = _DEVICES, set(_NOTICED)
    _DEVICES = frozenset()
    _NOTICED.update(devices)
    try:
        yield
    finally:
        _DEVICES = devices
        _NOTICED.clear()
        _NOTICED.update(noticed)


def _compiled(tensor: Tensor) -> bool:
    device = tensor.device.type
    if device in _DEVICES or (device == "meta" and _DEVICES):
        return True
    if device not in _NOTICED:
        _NOTICED.add(device)
        warnings.warn(
            f"RoI layers on {device} come from torchvision: {_REASON}. To compile it: python setup.py build develop",
            stacklevel=4,
        )
    return False


def _pair(output_size: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(output_size, int):
        return output_size, output_size
    if len(output_size) != 2:
        raise UserError(f"output_size must be an int or (height, width), got {output_size!r}")
    return output_size[0], output_size[1]


def _check_pooling(input: Tensor, boxes: Tensor) -> None:
    if input.dim() != 4 or not input.is_floating_point():
        raise ValueError(f"input must be (N, C, H, W) and floating point, got {tuple(input.shape)} {input.dtype}")
    if boxes.dim() != 2 or boxes.shape[1] != 5:
        raise ValueError(f"boxes must be (R, 5): image index, x1, y1, x2, y2; got {tuple(boxes.shape)}")
    half = input.dtype in (torch.float16, torch.bfloat16)
    if boxes.dtype != input.dtype and not (half and boxes.dtype == torch.float32):
        raise UserError(
            f"boxes are {boxes.dtype}, input is {input.dtype}: they must match (or boxes be float32 beside half)"
        )
    if boxes.device != input.device:
        raise UserError(f"boxes are on {boxes.device} and input on {input.device}")


def _check_suppression(boxes: Tensor, scores: Tensor, classes: Tensor | None = None) -> None:
    if boxes.dim() != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
        raise ValueError(f"boxes must be (N, 4) and floating point, got {tuple(boxes.shape)} {boxes.dtype}")
    for name, tensor in (("scores", scores), ("classes", classes)):
        if tensor is None:
            continue
        if tensor.shape != boxes.shape[:1]:
            raise ValueError(f"{name} must be (N,) = ({boxes.shape[0]},), got {tuple(tensor.shape)}")
        if tensor.device != boxes.device:
            raise UserError(f"{name} are on {tensor.device} and boxes on {boxes.device}")
    if not scores.is_floating_point():
        raise UserError(f"scores must be floating point, got {scores.dtype}")
    if classes is not None and (classes.is_floating_point() or classes.dtype == torch.bool):
        raise UserError(f"classes must be integers, got {classes.dtype}")


def _values(tensor: Tensor) -> Tensor:
    """Without its gradient; for a hundred boxes even `detach` takes a share of the time."""
    return tensor.detach() if tensor.requires_grad else tensor


def roi_align(
    input: Tensor,
    boxes: Tensor,
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Mean of bilinear samples in each bin of each RoI (He et al., Mask R-CNN, section 3).

    Args:
        input: features (N, C, H, W), of any strides; channels-last is as quick.
        boxes: (R, 5) image index, x1, y1, x2, y2 in image pixels.
        output_size: bins (height, width) of a RoI, or one number for both.
        spatial_scale: feature map pixels per image pixel.
        sampling_ratio: samples per bin and axis; 0 or less takes one per feature pixel, ceil(bin length).
        aligned: shift by half a pixel, so that pixel centres lie at integers (detectron2's correction).

    Returns:
        (R, C, height, width) in the dtype of `input`. A RoI with non-finite coordinates gives zeros.

    Raises:
        ValueError: wrong shapes, dtypes or devices. RuntimeError: an image index outside the batch (on the CPU; on a GPU,
        where looking would cost a synchronisation, such a RoI gives zeros), or an argument out of range.
    """
    _check_pooling(input, boxes)
    height, width = _pair(output_size)
    if not _compiled(input):
        return fallback.roi_align(input, boxes, (height, width), spatial_scale, sampling_ratio, aligned)
    return torch.ops.repmet.roi_align(input, boxes, height, width, spatial_scale, sampling_ratio, aligned)


def roi_align_pyramid(
    inputs: Sequence[Tensor],
    boxes: Tensor,
    output_size: int | Sequence[int],
    spatial_scales: Sequence[float],
    sampling_ratio: int = 0,
    aligned: bool = True,
    finest_scale: float = 56.0,
) -> Tensor:
    """RoIAlign on a feature pyramid in one operator: each RoI is pooled from the level that suits its size.

    The level is floor(log2(sqrt(area) / finest_scale + 1e-6)), clipped to those there are (Lin et al., Feature Pyramid
    Networks, equation 1); `finest_scale` is half the size, in image pixels, from which on the second level is used.

    Args:
        inputs: one (N, C, H_l, W_l) per level, finest first.
        spatial_scales: one per level. Other arguments, result and errors: see `roi_align`.
    """
    if len(inputs) == 0 or len(inputs) != len(spatial_scales):
        raise UserError(f"needs one scale per level, got {len(inputs)} levels and {len(spatial_scales)} scales")
    for level in inputs:
        _check_pooling(level, boxes)
    height, width = _pair(output_size)
    scales = [float(scale) for scale in spatial_scales]
    if not _compiled(boxes):
        return fallback.roi_align_pyramid(inputs, boxes, (height, width), scales, sampling_ratio, aligned, finest_scale)
    return torch.ops.repmet.roi_align_pyramid(
        list(inputs), boxes, height, width, scales, sampling_ratio, aligned, finest_scale
    )


def roi_pool(input: Tensor, boxes: Tensor, output_size: int | Sequence[int], spatial_scale: float = 1.0) -> Tensor:
    """Maximum over the pixels in each bin of each RoI (Girshick, Fast R-CNN, section 2.1).

    Box edges are rounded to pixels and both belong to the RoI. A bin without pixels gives 0. Arguments, result and errors:
    see `roi_align`.
    """
    _check_pooling(input, boxes)
    height, width = _pair(output_size)
    if not _compiled(input):
        return fallback.roi_pool(input, boxes, (height, width), spatial_scale)
    return torch.ops.repmet.roi_pool(input, boxes, height, width, spatial_scale)[0]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4) x1, y1, x2, y2. scores: (N,). iou_threshold: a box is dropped when its IoU with a kept box of a higher
        score exceeds it.

    Returns:
        int64 indices of the kept boxes, highest score first; equal scores in their given order.

    Raises:
        ValueError: wrong shapes, dtypes or devices.
    """
    _check_suppression(boxes, scores)
    if not _compiled(boxes):
        return fallback.nms(boxes, scores, iou_threshold)
    return torch.ops.repmet.nms(_values(boxes), _values(scores), iou_threshold)


def batched_nms(boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: float) -> Tensor:
    """`nms` within each class, in one operator: no shifted coordinates, no loop over classes.

    `classes` is (N,), integers of any value. The result is in descending score order over all classes.
    """
    _check_suppression(boxes, scores, classes)
    if not _compiled(boxes):
        return fallback.batched_nms(boxes, scores, classes, iou_threshold)
    return torch.ops.repmet.batched_nms(_values(boxes), _values(scores), classes.long(), iou_threshold)
