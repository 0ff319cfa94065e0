"""Deformable convolution in mmcv's table, against torchvision's and with mmcv's gradients."""

import pytest
import torch

pytest.importorskip("mmcv")
pytest.importorskip("repmet.detection")  # its table comes before mmcv asks for one

from mmcv import ops

from tests.detection.mmcv_ops.stock_models import faster_rcnn, ours, train_and_predict


@ours
@pytest.mark.parametrize("kind", ["DCN", "DCNv2"])
def test_faster_rcnn_with_deformable_convolution(kind) -> None:
    model = faster_rcnn(50, dcn={"type": kind, "deform_groups": 1}, stage_with_dcn=(False, False, False, True))
    gradients = train_and_predict(model)
    for part in ("conv2.weight", "conv2.conv_offset.weight"):
        assert gradients[f"backbone.layer4.1.{part}"].abs().sum() > 0


def reference_deform_conv(x, offset, mask, layer, bias):
    import torchvision.ops as reference

    return reference.deform_conv2d(x, offset, layer.weight, bias, layer.stride, layer.padding, layer.dilation, mask=mask)


@ours
@pytest.mark.parametrize(("groups", "deform_groups", "stride"), [(1, 1, 1), (2, 2, 2)])
def test_deformable_convolution_through_mmcv(groups, deform_groups, stride) -> None:
    options = {"stride": stride, "padding": 1, "groups": groups, "deform_groups": deform_groups}
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    side = ((9 - 1) // stride + 1, (8 - 1) // stride + 1)
    offset = torch.randn(2, 18 * deform_groups, *side, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 9 * deform_groups, *side, dtype=torch.float64, requires_grad=True)

    layer = ops.DeformConv2d(4, 6, 3, **options).double()
    result, expected = layer(x, offset), reference_deform_conv(x, offset, None, layer, None)
    torch.testing.assert_close(result, expected)
    grad = torch.randn_like(result)
    for leaves in ([x, offset, layer.weight], [layer.weight], [x]):
        for ours_, theirs in zip(
            torch.autograd.grad(layer(x, offset), leaves, grad),
            torch.autograd.grad(reference_deform_conv(x, offset, None, layer, None), leaves, grad),
            strict=True,
        ):
            torch.testing.assert_close(ours_, theirs)
    only_weight = layer(x.detach(), offset.detach())
    torch.testing.assert_close(
        torch.autograd.grad(only_weight, layer.weight, grad)[0], torch.autograd.grad(expected, layer.weight, grad)[0]
    )

    modulated = ops.ModulatedDeformConv2d(4, 6, 3, bias=True, **options).double()
    leaves = [x, offset, mask, modulated.weight, modulated.bias]
    result = modulated(x, offset, mask)
    expected = reference_deform_conv(x, offset, mask, modulated, modulated.bias)
    torch.testing.assert_close(result, expected)
    for ours_, theirs in zip(
        torch.autograd.grad(result, leaves, grad), torch.autograd.grad(expected, leaves, grad), strict=True
    ):
        torch.testing.assert_close(ours_, theirs)


@ours
def test_the_slope_of_the_offsets_is_mmcvs_where_a_point_lies_at_minus_one() -> None:
    """Offsets of 0 with padding: the first step of every training. What mmcv's own kernel gives for this layer."""
    layer = ops.ModulatedDeformConv2dPack(1, 1, kernel_size=2, padding=1, deform_groups=1, bias=False)
    torch.nn.init.ones_(layer.weight)
    layer(torch.tensor([[[[1.0, 2.0, 3.0]]]])).sum().backward()
    assert layer.conv_offset.weight.grad[0, 0].tolist() == [[-7, -4], [0, 0]]


@ours
@pytest.mark.parametrize("axis", [0, 1])
def test_only_offsets_to_a_point_at_minus_one_lose_their_slope(axis) -> None:
    """One point of one tap is brought to -1 exactly; a hair further in the slope is the one-sided one."""
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64)
    layer = ops.DeformConv2d(2, 3, 3, padding=1, stride=2).double()
    offset = torch.rand(1, 18, 3, 3, dtype=torch.float64) - 0.5
    slopes = []
    for inwards in (0.0, 1e-9):
        there = offset.clone()
        there[0, 8 + axis, 1, 1] = -3 + inwards  # the middle tap of output (1, 1) lies at (2, 2)
        there.requires_grad_()
        slopes.append(torch.autograd.grad(layer(x, there).sum(), there)[0])
    assert slopes[0][0, 8 + axis, 1, 1] == 0 and slopes[1][0, 8 + axis, 1, 1].abs() > 1e-6
    assert slopes[0][0, 9 - axis, 1, 1].abs() < 1e-6
    for gradient in slopes:
        gradient[0, 8:10, 1, 1] = 0
    torch.testing.assert_close(*slopes)


@ours
def test_deformable_convolution_in_bfloat16_on_the_cpu() -> None:
    layer = ops.DeformConv2d(4, 6, 3, padding=1)
    x, offset = torch.randn(1, 4, 6, 6, requires_grad=True), torch.randn(1, 18, 6, 6).bfloat16()
    result = layer(x, offset)
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    assert x.grad.isfinite().all()
