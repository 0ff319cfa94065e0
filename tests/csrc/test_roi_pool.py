"""RoIPool of csrc against a hand-computed case, torchvision and finite differences."""

import itertools

import pytest
import torch

from repmet.model_definitions import roi_layers
from tests.csrc.reference import roi_pool as reference
from tests.csrc.test_roi_align import random_boxes

pytestmark = pytest.mark.skipif(roi_layers.backend() != "csrc", reason="csrc is not compiled")


def test_by_hand() -> None:
    """v(y, x) = 10 y + x on 5x5; the RoI 1..3 x 1..3 has 3 pixels a side, so 2 bins of 1.5 share the middle one."""
    ramp = (10 * torch.arange(5.0)[:, None] + torch.arange(5.0)[None, :])[None, None]
    result = roi_layers.roi_pool(ramp, torch.tensor([[0.0, 1.0, 1.0, 3.0, 3.0]]), 2)
    assert result[0, 0].tolist() == [[22.0, 23.0], [32.0, 33.0]]
    assert roi_layers.roi_pool(ramp, torch.tensor([[0.0, 9.0, 9.0, 12.0, 12.0]]), 1).item() == 0  # off the map


@pytest.mark.parametrize(
    ("channels", "shape", "output_size"), [(1, (1, 1), 1), (16, (13, 17), (7, 7)), (37, (24, 9), (3, 5))]
)
def test_equals_torchvision(channels, shape, output_size) -> None:
    pair = (output_size, output_size) if isinstance(output_size, int) else output_size
    for dtype, scale, count, layout in itertools.product(
        (torch.float32, torch.float64), (1.0, 0.25), (0, 3, 60), ("dense", "channels_last", "strided")
    ):
        input = torch.randn(2, channels, *shape, dtype=dtype)
        if layout == "channels_last":
            input = input.contiguous(memory_format=torch.channels_last)
        elif layout == "strided":
            input = torch.randn(2, shape[0], channels, 2 * shape[1], dtype=dtype).transpose(1, 2)[..., ::2]
        boxes = random_boxes(count, 2, int(shape[0] / scale), int(shape[1] / scale), dtype)
        ours, theirs = input.detach().requires_grad_(), input.detach().contiguous().requires_grad_()
        result = roi_layers.roi_pool(ours, boxes, output_size, scale)
        expected = reference(theirs, boxes, pair, scale)
        assert torch.equal(result, expected)
        grad = torch.randn_like(expected)
        result.backward(grad)
        expected.backward(grad)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_gradcheck() -> None:
    input = torch.randn(2, 18, 6, 7, dtype=torch.float64, requires_grad=True)
    boxes = random_boxes(8, 2, 6, 7, torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_layers.roi_pool(x, boxes, (2, 3), 0.9), input, fast_mode=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_boxes_give_zeros(bad) -> None:
    input = torch.randn(1, 20, 8, 8, requires_grad=True)
    boxes = torch.tensor([[0.0, 1.0, 1.0, 5.0, 5.0]]).repeat(5, 1)
    for column in range(1, 5):
        boxes[column, column] = bad
    result = roi_layers.roi_pool(input, boxes, 3)
    assert torch.equal(result[:1], reference(input, boxes[:1], 3))
    assert (result[1:] == 0).all()
    (gradient,) = torch.autograd.grad(result[1:].sum(), input)
    assert (gradient == 0).all()


def test_huge_box_covers_the_map() -> None:
    input = torch.randn(1, 4, 8, 8)
    result = roi_layers.roi_pool(input, torch.tensor([[0.0, -1e30, -1e30, 1e30, 1e30]]), 1)
    assert torch.equal(result[0, :, 0, 0], input.amax(dim=(2, 3))[0])


def test_negative_values_and_nan_pixels() -> None:
    """A maximum below zero stays; a NaN pixel is never the maximum (as in torchvision)."""
    input = -torch.rand(1, 16, 6, 6) - 1
    input[0, :, 2, 2] = float("nan")
    boxes = torch.tensor([[0.0, 0.0, 0.0, 5.0, 5.0]])
    assert torch.equal(roi_layers.roi_pool(input, boxes, 2), reference(input, boxes, 2))


def test_zero_sizes() -> None:
    boxes = torch.tensor([[0.0, 1.0, 1.0, 5.0, 5.0]])
    assert roi_layers.roi_pool(torch.randn(1, 0, 8, 8), boxes, 3).shape == (1, 0, 3, 3)
    assert (roi_layers.roi_pool(torch.randn(1, 4, 0, 8), boxes, 3) == 0).all()


def test_foreign_argmax_is_not_trusted() -> None:
    """Indices outside the plane, as a wrong `argmax` could hold, are skipped."""
    boxes = torch.tensor([[0.0, 0.0, 0.0, 3.0, 3.0]])
    argmax = torch.tensor([2**31 - 1, -(2**31), 16, 3], dtype=torch.int32).reshape(1, 1, 2, 2)
    result = torch.ops.repmet.roi_pool_backward(torch.ones(1, 1, 2, 2), boxes, argmax, 1, 1, 4, 4, 1.0, False, False)
    assert result.sum() == 1
    assert result[0, 0, 0, 3] == 1
