"""The kernels that stand in mmcv's table (`mmcv._ext`), by `csrc`.

RoIAlign (mean), RoIPool and NMS by `model_definitions.roi_layers`, and deformable convolution, with and without modulation,
by `torchvision.ops.deform_conv2d`. Anything else raises NotImplementedError with the operator's name (`table.py`).
`mmcv.ops.batched_nms` is no kernel but a function that shifts the classes apart, which rounds their coordinates, and calls
NMS; `class_aware` gives the one that takes its place.

mmcv's calling convention: the caller makes the result tensors and the kernel fills them.
"""

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from repmet.detection.mmcv_ops.deform_conv import KERNELS as DEFORM_CONV
from repmet.model_definitions import roi_layers


def _backward_by_csrc(tensor: Tensor) -> bool:
    return roi_layers.backend(tensor.device) == "csrc"


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """mmcv's `RoIAlign(pool_mode='avg')`; `argmax_*` serve the maximum only."""
    if pool_mode != 1:
        raise NotImplementedError(f"RoIAlign with pool_mode='max' is not in csrc: use 'avg'. {remedy()}")
    size = (aligned_height, aligned_width)
    output.set_(roi_layers.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    if _backward_by_csrc(grad_output):
        deterministic = torch.are_deterministic_algorithms_enabled()
        size = grad_input.shape
        grad_input.set_(
            torch.ops.repmet.roi_align_backward(
                grad_output, rois, *size, spatial_scale, sampling_ratio, aligned, False, deterministic
            )
        )
        return
    with torch.enable_grad():  # the operator is linear, so its gradient can be asked for at any input
        anywhere = torch.zeros_like(grad_input, requires_grad=True)
        pooled = roi_layers.roi_align(
            anywhere, rois, (aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned
        )
    grad_input.copy_(torch.autograd.grad(pooled, anywhere, grad_output)[0])


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    if roi_layers.backend(input.device) == "csrc":
        pooled, index = torch.ops.repmet.roi_pool(input, rois, pooled_height, pooled_width, spatial_scale)
    else:
        import torchvision  # noqa: F401  (registers the operator, whose public wrapper keeps the indices to itself)

        pooled, index = torch.ops.torchvision.roi_pool(input, rois, spatial_scale, pooled_height, pooled_width)
    output.set_(pooled)
    argmax.set_(index)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    if _backward_by_csrc(grad_output):
        deterministic = torch.are_deterministic_algorithms_enabled()
        size = grad_input.shape
        grad_input.set_(
            torch.ops.repmet.roi_pool_backward(grad_output, rois, argmax, *size, spatial_scale, False, deterministic)
        )
        return
    image = rois[:, :1, None].long()  # (R, 1, 1)
    channel = torch.arange(grad_input.shape[1], device=rois.device)[None, :, None]
    index = argmax.flatten(2).long()  # (R, C, bins), -1 where the bin is empty
    values = grad_output.flatten(2) * (index >= 0)
    grad_input.flatten(2).index_put_((image, channel, index.clamp(min=0)), values, accumulate=True)


def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float, offset: int) -> Tensor:
    """`offset` 1 counts both edges of a box as pixels of it: the same as moving x2 and y2 by one."""
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return roi_layers.nms(boxes, scores, iou_threshold)


def class_aware(original: Callable) -> Callable:
    """mmcv's `batched_nms` by `roi_layers.batched_nms`; what that does not offer (soft NMS, rotated boxes) stays mmcv's."""

    @functools.wraps(original)
    def batched_nms(
        boxes: Tensor, scores: Tensor, idxs: Tensor, nms_cfg: Mapping | None, class_agnostic: bool = False
    ) -> tuple[Tensor, Tensor]:
        options = dict(nms_cfg or {"type": None})
        options.pop("split_thr", None)  # no need to split: memory grows with the boxes, not with their square
        threshold = options.pop("iou_threshold", None)
        known = options.pop("type", "nms") == "nms" and options.keys() <= {"class_agnostic", "max_num"}
        if not known or boxes.size(-1) != 4 or threshold is None or options.get("class_agnostic", class_agnostic):
            return original(boxes, scores, idxs, nms_cfg, class_agnostic)
        keep = roi_layers.batched_nms(boxes, scores, idxs.long(), float(threshold))
        if options.get("max_num", -1) > 0:
            keep = keep[: options["max_num"]]
        return torch.cat([boxes[keep], scores[keep, None]], dim=1), keep

    return batched_nms


def get_compiler_version() -> str:
    return "no mmcv kernels; RoI layers by " + roi_layers.backend()


def get_compiling_cuda_version() -> str:
    return "no mmcv kernels; RoI layers on CUDA by " + roi_layers.backend("cuda")


TABLE = {
    function.__name__: function
    for function in (
        roi_align_forward,
        roi_align_backward,
        roi_pool_forward,
        roi_pool_backward,
        nms,
        get_compiler_version,
        get_compiling_cuda_version,
    )
} | DEFORM_CONV


def remedy() -> str:
    return (
        "Operators beyond RoIAlign, RoIPool, NMS and deformable convolution need a complete mmcv: build it with "
        "MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary :all: onedl-mmcv"
    )
