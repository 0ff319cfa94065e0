"""mmcv's entry points for deformable convolution, by `torchvision.ops.deform_conv2d`.

Both libraries lay offsets out as y, x for each point of the kernel, and both weight a point off the map with 0. mmcv calls
forward and backward as separate kernels; backward here runs torchvision's forward again under autograd.

Outputs and the gradients of input, weight, bias and mask agree. Those of the offsets agree but where a point lies at exactly
-1, where bilinear sampling has a kink: torchvision gives the slope towards the map, mmcv 0. With offsets of 0 and padding,
which is how training starts, whole borders lie there; so they are set to 0 here.

Half precision on the CPU, which torchvision does not have, is computed in float32.
"""

from typing import Any

import torch
from torch import Tensor


def _convolve(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, geometry: dict
) -> Tensor:
    from torchvision.ops import deform_conv2d

    return deform_conv2d(input, offset, weight, bias, mask=mask, **geometry)


def _working(*tensors: Tensor | None) -> list[Tensor | None]:
    """The tensors in a dtype that torchvision computes in, detached."""
    half = (torch.float16, torch.bfloat16)
    return [
        None if t is None else t.detach().float() if t.device.type == "cpu" and t.dtype in half else t.detach()
        for t in tensors
    ]


def _gradients(grad: Tensor, tensors: list[Tensor | None], geometry: dict) -> list[Tensor | None]:
    """Gradients of input, offset, weight, bias and mask (None where there is none)."""
    with torch.enable_grad():
        leaves = [None if t is None else t.requires_grad_() for t in _working(*tensors)]
        output = _convolve(*leaves, geometry)
    wanted = [leaf for leaf in leaves if leaf is not None]
    leaf_gradients = iter(torch.autograd.grad(output, wanted, grad.to(output.dtype)))
    gradients = [None if leaf is None else next(leaf_gradients) for leaf in leaves]
    gradients[1] = gradients[1] * _on_the_map(leaves[1].detach(), leaves[0].shape[-2:], leaves[2].shape[-2:], geometry)
    return gradients


def _on_the_map(offset: Tensor, size: tuple[int, int], kernel: tuple[int, int], geometry: dict) -> Tensor:
    """Which sampling points lie within a pixel of the map, -1 < y < H and -1 < x < W: as the offsets, both y and x."""
    offsets = offset.unflatten(1, (-1, *kernel, 2))  # (B, groups, kh, kw, 2, H_out, W_out)
    inside = torch.ones((), dtype=torch.bool, device=offset.device)
    for axis in (0, 1):
        steps = torch.arange(offset.shape[2 + axis], device=offset.device) * geometry["stride"][axis]
        taps = torch.arange(kernel[axis], device=offset.device) * geometry["dilation"][axis] - geometry["padding"][axis]
        place = taps[:, None] + steps  # (k, out)
        shape = [kernel[0] if axis == 0 else 1, kernel[1] if axis == 1 else 1]
        shape += [offset.shape[2] if axis == 0 else 1, offset.shape[3] if axis == 1 else 1]
        point = place.view(shape) + offsets[..., axis, :, :]  # (B, groups, kh, kw, H_out, W_out)
        inside = inside & (point > -1) & (point < size[axis])
    return inside.unsqueeze(4).expand_as(offsets).reshape(offset.shape)


def _plain(options: dict[str, Any]) -> dict:
    """mmcv's names for the geometry of `deform_conv_*`; group counts follow from the shapes."""
    return {
        "stride": (options["dH"], options["dW"]),
        "padding": (options["padH"], options["padW"]),
        "dilation": (options["dilationH"], options["dilationW"]),
    }


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **options: Any
) -> None:
    output.copy_(_convolve(*_working(input, offset, weight, None, None), _plain(options)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **options: Any,
) -> None:
    by_input, by_offset, by_weight, _, _ = _gradients(grad_output, [input, offset, weight, None, None], _plain(options))
    grad_input.copy_(by_input)
    grad_offset.copy_(by_offset)
    # `columns` is the scratch buffer that mmcv hands to both backward kernels of one call: the weight's gradient, which
    # came with the others, waits there.
    columns.resize_(by_weight.shape).copy_(by_weight)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    **options: Any,
) -> None:
    if columns.shape == grad_weight.shape:
        grad_weight.add_(columns, alpha=scale)
        columns.resize_(0)
        return
    # Neither input nor offset needs a gradient, so the other kernel was not called. Any weight will do: the output is
    # linear in it.
    tensors = [input, offset, torch.zeros_like(grad_weight), None, None]
    grad_weight.add_(_gradients(grad_output, tensors, _plain(options))[2], alpha=scale)


def _modulated(options: dict[str, Any]) -> dict:
    return {
        "stride": (options["stride_h"], options["stride_w"]),
        "padding": (options["pad_h"], options["pad_w"]),
        "dilation": (options["dilation_h"], options["dilation_w"]),
    }


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **options: Any,
) -> None:
    output.copy_(_convolve(*_working(input, offset, weight, bias if with_bias else None, mask), _modulated(options)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **options: Any,
) -> None:
    tensors = [input, offset, weight, bias if with_bias else None, mask]
    targets = [grad_input, grad_offset, grad_weight, grad_bias, grad_mask]
    for target, gradient in zip(targets, _gradients(grad_output, tensors, _modulated(options)), strict=True):
        if gradient is not None:
            target.copy_(gradient)


KERNELS = {
    function.__name__: function
    for function in (
        deform_conv_forward,
        deform_conv_backward_input,
        deform_conv_backward_parameters,
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
    )
}
