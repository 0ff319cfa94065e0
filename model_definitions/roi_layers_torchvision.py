"""The functions of `roi_layers` by torchvision, for where `csrc` is not compiled.

torchvision reads out of bounds for an image index outside the batch and for NaN boxes, so both are dealt with here.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def _guard(input: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features and boxes that torchvision can take, and which boxes are finite (R, 1, 1, 1)."""
    index = boxes[:, 0]
    if boxes.device.type == "cpu" and not bool(((index > -1) & (index < input.shape[0])).all()):
        raise RuntimeError(f"boxes name images outside of a batch of {input.shape[0]}")
    finite = boxes.isfinite().all(dim=1, keepdim=True) & (index > -1)[:, None] & (index < input.shape[0])[:, None]
    dtype = torch.float64 if input.dtype == torch.float64 else torch.float32  # torchvision has no half on the CPU
    return input.to(dtype), boxes.where(finite, boxes.new_zeros(())).to(dtype), finite[:, :, None, None]


def roi_align(
    input: Tensor, boxes: Tensor, output_size: tuple[int, int], spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    from torchvision import ops

    features, rois, finite = _guard(input, boxes)
    pooled = ops.roi_align(features, rois, output_size, spatial_scale, sampling_ratio, aligned)
    return pooled.where(finite, pooled.new_zeros(())).to(input.dtype)


def roi_align_pyramid(
    inputs: Sequence[Tensor],
    boxes: Tensor,
    output_size: tuple[int, int],
    spatial_scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    finest_scale: float,
) -> Tensor:
    size = ((boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])).float().sqrt()
    levels = (size / finest_scale + 1e-6).log2().floor().nan_to_num(0.0).clamp(0, len(inputs) - 1).long()
    result = inputs[0].new_zeros((boxes.shape[0], inputs[0].shape[1], *output_size))
    for level, (features, scale) in enumerate(zip(inputs, spatial_scales, strict=True)):
        chosen = (levels == level).nonzero()[:, 0]
        pooled = roi_align(features, boxes[chosen], output_size, scale, sampling_ratio, aligned)
        result = result.index_copy(0, chosen, pooled)
    return result


def roi_pool(input: Tensor, boxes: Tensor, output_size: tuple[int, int], spatial_scale: float) -> Tensor:
    from torchvision import ops

    features, rois, finite = _guard(input, boxes)
    pooled = ops.roi_pool(features, rois, output_size, spatial_scale)
    return pooled.where(finite, pooled.new_zeros(())).to(input.dtype)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    from torchvision import ops

    dtype = torch.float64 if boxes.dtype == torch.float64 else torch.float32
    return ops.nms(boxes.to(dtype), scores.to(dtype), iou_threshold)


def batched_nms(boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: float) -> Tensor:
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for label in classes.unique():
        members = (classes == label).nonzero()[:, 0]
        keep[members[nms(boxes[members], scores[members], iou_threshold)]] = True
    order = scores.argsort(descending=True, stable=True)
    return order[keep[order]]
