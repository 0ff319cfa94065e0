"""RoIAlign, RoIPool and NMS straight from their definitions, with torchvision's signatures, slow and in plain torch.

The tests take these as the reference where torchvision does not load, such as beside a torch that it was not built for.
"""

import math

import torch
from torch import Tensor


def _sampling_matrix(low, high, scale: float, aligned: bool, bins: int, ratio: int, size: int) -> tuple[Tensor, int]:
    """Linear interpolation on one axis as a matrix (bins, size), summed over a bin's samples, and the samples per bin.

    A sample at x has the weight max(0, 1 - |x - p|) on pixel p; up to one pixel off the map it counts for the edge.
    """
    offset = 0.5 if aligned else 0.0
    start = low * scale - offset
    extent = high * scale - offset - start
    if not aligned:
        extent = extent.clamp(min=1)
    grid = ratio if ratio > 0 else max(math.ceil(extent / bins), 0)
    bin_index = torch.arange(bins, dtype=low.dtype)[:, None]
    sample = torch.arange(grid, dtype=low.dtype)[None, :]
    at = start + bin_index * (extent / bins) + (sample + 0.5) * (extent / bins) / max(grid, 1)  # (bins, grid)
    inside = (at >= -1) & (at <= size)
    distance = (at.clamp(0, size - 1)[:, :, None] - torch.arange(size, dtype=low.dtype)).abs()  # (bins, grid, size)
    return ((1 - distance).clamp(min=0) * inside[:, :, None]).sum(dim=1), grid


def _none(input: Tensor, height: int, width: int) -> Tensor:
    """The result for no RoIs, with a gradient."""
    return input.new_zeros((0, input.shape[1], height, width)) + input.flatten()[:0].sum()


def roi_align(
    input: Tensor,
    boxes: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
    pooled = [_none(input, height, width)]
    for image, x1, y1, x2, y2 in boxes:
        rows, row_samples = _sampling_matrix(y1, y2, spatial_scale, aligned, height, sampling_ratio, input.shape[2])
        columns, column_samples = _sampling_matrix(x1, x2, spatial_scale, aligned, width, sampling_ratio, input.shape[3])
        total = torch.einsum("ih,chw,jw->cij", rows, input[int(image)], columns)
        pooled.append(total[None] / max(row_samples * column_samples, 1))
    return torch.cat(pooled)


def _pixel_ranges(low, high, scale: float, bins: int, size: int) -> list[tuple[int, int]]:
    def half_away_from_zero(value: Tensor) -> Tensor:
        return value.sign() * (value.abs() + 0.5).floor()

    start, end = half_away_from_zero(low * scale), half_away_from_zero(high * scale)
    length = (end - start + 1).clamp(min=1) / bins
    ranges = []
    for i in range(bins):
        first, last = (i * length).floor() + start, ((i + 1) * length).ceil() + start
        ranges.append((int(first.clamp(0, size)), int(last.clamp(0, size))))
    return ranges


def roi_pool(input: Tensor, boxes: Tensor, output_size: int | tuple[int, int], spatial_scale: float = 1.0) -> Tensor:
    height, width = (output_size, output_size) if isinstance(output_size, int) else output_size
    lowest = torch.finfo(input.dtype).min
    pooled = [_none(input, height, width)]
    for image, x1, y1, x2, y2 in boxes:
        columns = _pixel_ranges(x1, x2, spatial_scale, width, input.shape[3])
        bins = []
        for top, bottom in _pixel_ranges(y1, y2, spatial_scale, height, input.shape[2]):
            for left, right in columns:
                pixels = input[int(image), :, top:bottom, left:right].flatten(1)
                if pixels.shape[1] == 0:
                    bins.append(input.new_zeros(input.shape[1]))
                else:  # NaN is never a maximum; of equal ones the first has the gradient
                    bins.append(pixels.where(pixels > lowest, pixels.new_tensor(lowest)).max(dim=1).values)
        pooled.append(torch.stack(bins, dim=1).view(1, -1, height, width))
    return torch.cat(pooled)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order = scores.argsort(descending=True, stable=True)
    x1, y1, x2, y2 = boxes[order].unbind(1)
    area = (x2 - x1) * (y2 - y1)
    alive, kept, zero = torch.ones(len(order), dtype=torch.bool), [], boxes.new_zeros(())

    def largest(a: Tensor, b: Tensor) -> Tensor:  # C++'s std::max, which decides what NaN does
        return torch.where(a < b, b, a)

    def least(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(b < a, b, a)

    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(i)
        width = largest(zero, least(x2[i], x2) - largest(x1[i], x1))
        height = largest(zero, least(y2[i], y2) - largest(y1[i], y1))
        shared = width * height
        alive &= ~((shared / (area[i] + area - shared)).double() > iou_threshold)
    return order[kept]
