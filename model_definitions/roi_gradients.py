"""Gradients and shape functions of `torch.ops.repmet`: what autograd, `torch.compile` and `opcheck` ask for.

RoIAlign is linear in the features, so its gradient needs their size only; RoIPool keeps the index of each maximum.
"""

from typing import Any

import torch
from torch import Tensor


def _deterministic() -> bool:
    return torch.are_deterministic_algorithms_enabled()


def _is_channels_last(input: Tensor) -> bool:
    """The gradient takes the layout of the features."""
    return input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous()


def _features(like: Tensor, *size: int, channels_last: bool) -> Tensor:
    return torch.empty(
        size,
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )


def _roi_align_fake(
    input: Tensor,
    boxes: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    return input.new_empty((boxes.shape[0], input.shape[1], pooled_height, pooled_width))


def _roi_align_backward_fake(
    grad: Tensor,
    boxes: Tensor,
    batch: int,
    channels: int,
    height: int,
    width: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    channels_last: bool,
    deterministic: bool,
) -> Tensor:
    return _features(grad, batch, channels, height, width, channels_last=channels_last)


def _roi_align_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    input, boxes, _, _, ctx.scale, ctx.sampling_ratio, ctx.aligned = inputs
    ctx.save_for_backward(boxes)
    ctx.size, ctx.channels_last = input.shape, _is_channels_last(input)


def _roi_align_gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (boxes,) = ctx.saved_tensors
    result = torch.ops.repmet.roi_align_backward(
        grad, boxes, *ctx.size, ctx.scale, ctx.sampling_ratio, ctx.aligned, ctx.channels_last, _deterministic()
    )
    return result, None, None, None, None, None, None


def _pyramid_fake(
    inputs: list[Tensor],
    boxes: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scales: list[float],
    sampling_ratio: int,
    aligned: bool,
    finest_scale: int,
) -> Tensor:
    return inputs[0].new_empty((boxes.shape[0], inputs[0].shape[1], pooled_height, pooled_width))


def _pyramid_backward_fake(
    grad: Tensor,
    boxes: Tensor,
    batch: int,
    channels: int,
    heights: list[int],
    widths: list[int],
    spatial_scales: list[float],
    sampling_ratio: int,
    aligned: bool,
    finest_scale: int,
    channels_last: bool,
    deterministic: bool,
) -> list[Tensor]:
    return [
        _features(grad, batch, channels, height, width, channels_last=channels_last)
        for height, width in zip(heights, widths, strict=True)
    ]


def _pyramid_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    levels, boxes, _, _, ctx.scales, ctx.sampling_ratio, ctx.aligned, ctx.finest_scale = inputs
    ctx.save_for_backward(boxes)
    ctx.batch, ctx.channels = levels[0].shape[:2]
    ctx.heights, ctx.widths = [level.shape[2] for level in levels], [level.shape[3] for level in levels]
    ctx.channels_last = all(_is_channels_last(level) for level in levels)


def _pyramid_gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (boxes,) = ctx.saved_tensors
    results = torch.ops.repmet.roi_align_pyramid_backward(
        grad,
        boxes,
        ctx.batch,
        ctx.channels,
        ctx.heights,
        ctx.widths,
        ctx.scales,
        ctx.sampling_ratio,
        ctx.aligned,
        ctx.finest_scale,
        ctx.channels_last,
        _deterministic(),
    )
    return results, None, None, None, None, None, None, None


def _roi_pool_fake(
    input: Tensor, boxes: Tensor, pooled_height: int, pooled_width: int, spatial_scale: float
) -> tuple[Tensor, Tensor]:
    size = (boxes.shape[0], input.shape[1], pooled_height, pooled_width)
    return input.new_empty(size), input.new_empty(size, dtype=torch.int32)


def _roi_pool_backward_fake(
    grad: Tensor,
    boxes: Tensor,
    argmax: Tensor,
    batch: int,
    channels: int,
    height: int,
    width: int,
    spatial_scale: float,
    channels_last: bool,
    deterministic: bool,
) -> Tensor:
    return _features(grad, batch, channels, height, width, channels_last=channels_last)


def _roi_pool_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    input, boxes, _, _, ctx.scale = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(boxes, output[1])
    ctx.size, ctx.channels_last = input.shape, _is_channels_last(input)


def _roi_pool_gradient(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    boxes, argmax = ctx.saved_tensors
    result = torch.ops.repmet.roi_pool_backward(
        grad, boxes, argmax, *ctx.size, ctx.scale, ctx.channels_last, _deterministic()
    )
    return result, None, None, None, None


def _nms_fake(boxes: Tensor, scores: Tensor, *_: Any) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


def _refuse_second_order(ctx: Any, *_: Any) -> None:
    raise RuntimeError("the RoI layers are not differentiable twice")


def register() -> None:
    """Registers all of the above; to be called once, after the operators are loaded."""
    library = torch.library
    library.register_fake("repmet::roi_align", _roi_align_fake)
    library.register_fake("repmet::roi_align_backward", _roi_align_backward_fake)
    library.register_fake("repmet::roi_align_pyramid", _pyramid_fake)
    library.register_fake("repmet::roi_align_pyramid_backward", _pyramid_backward_fake)
    library.register_fake("repmet::roi_pool", _roi_pool_fake)
    library.register_fake("repmet::roi_pool_backward", _roi_pool_backward_fake)
    library.register_fake("repmet::nms", _nms_fake)
    library.register_fake("repmet::batched_nms", _nms_fake)
    library.register_autograd("repmet::roi_align", _roi_align_gradient, setup_context=_roi_align_setup)
    library.register_autograd("repmet::roi_align_pyramid", _pyramid_gradient, setup_context=_pyramid_setup)
    library.register_autograd("repmet::roi_pool", _roi_pool_gradient, setup_context=_roi_pool_setup)
    for name in ("roi_align_backward", "roi_align_pyramid_backward", "roi_pool_backward"):
        library.register_autograd(f"repmet::{name}", _refuse_second_order)
