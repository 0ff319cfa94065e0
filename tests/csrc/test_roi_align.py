"""RoIAlign of csrc against a hand-computed case, torchvision and finite differences."""

import itertools

import pytest
import torch

from repmet.model_definitions import roi_layers
from tests.csrc.reference import roi_align as reference

pytestmark = pytest.mark.skipif(roi_layers.backend() != "csrc", reason="csrc is not compiled")


def random_boxes(count: int, batch: int, height: int, width: int, dtype=torch.float32) -> torch.Tensor:
    """Boxes of all sizes, some partly or wholly off a map of `height` x `width`, some empty, some reversed."""
    corner = torch.rand(count, 2, dtype=dtype) * torch.tensor([width, height], dtype=dtype) * 1.4 - 0.2 * width
    size = torch.rand(count, 2, dtype=dtype) ** 2 * torch.tensor([width, height], dtype=dtype)
    boxes = torch.cat([torch.randint(0, batch, (count, 1)).to(dtype), corner, corner + size], dim=1)
    if count >= 8:
        boxes[0, 3:] = boxes[0, 1:3]  # no extent
        boxes[1, [1, 3]] = boxes[1, [3, 1]]  # reversed
        boxes[2, 1:] = torch.tensor([-2.0 * width, -2.0 * height, -float(width), -float(height)])
        boxes[3, 1:] = torch.tensor([0.0, 0.0, width, height])
        boxes[4, 1:] = torch.tensor([-1.0, -1.0, width + 1.0, height + 1.0])
    return boxes


def test_by_hand() -> None:
    """A 5x5 ramp, v(y, x) = 10 y + x: bilinear interpolation is exact on it, so a bin is the ramp at the bin's centre."""
    ramp = (10 * torch.arange(5.0)[:, None] + torch.arange(5.0)[None, :])[None, None]
    box = torch.tensor([[0.0, 1.0, 1.0, 3.0, 3.0]])
    # Without `aligned`: bins of 1x1 pixel, centres at 1.5 and 2.5.
    expected = torch.tensor([[16.5, 17.5], [26.5, 27.5]])
    torch.testing.assert_close(roi_layers.roi_align(ramp, box, 2, aligned=False, sampling_ratio=2)[0, 0], expected)
    # With it everything lies half a pixel earlier: centres at 1.0 and 2.0.
    torch.testing.assert_close(roi_layers.roi_align(ramp, box, 2, sampling_ratio=2)[0, 0], expected - 5.5)
    # A scale of 1/2 takes 2..6 to 1..3; an adaptive grid has one sample in a bin of one pixel.
    torch.testing.assert_close(
        roi_layers.roi_align(ramp, torch.tensor([[0.0, 2.0, 2.0, 6.0, 6.0]]), 2, 0.5)[0, 0], expected - 5.5
    )
    # Off the map by more than a pixel: nothing. On its edge: the edge's value.
    assert roi_layers.roi_align(ramp, torch.tensor([[0.0, 7.0, 7.0, 9.0, 9.0]]), 1).item() == 0
    assert roi_layers.roi_align(ramp, torch.tensor([[0.0, -0.5, -0.5, 0.5, 0.5]]), 1, sampling_ratio=1).item() == 0


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [-1, 0, 1, 2, 3])
@pytest.mark.parametrize(
    ("channels", "shape", "output_size"), [(1, (1, 1), 1), (16, (13, 17), (7, 7)), (37, (24, 9), (3, 5))]
)
def test_equals_torchvision(aligned, sampling_ratio, channels, shape, output_size) -> None:
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
        if sampling_ratio <= 0:  # torchvision fails for the reversed box's grid of less than no samples
            boxes = torch.cat([boxes[:1], boxes[2:]])
        ours = input.detach().requires_grad_()
        theirs = input.detach().contiguous().requires_grad_()
        result = roi_layers.roi_align(ours, boxes, output_size, scale, sampling_ratio, aligned)
        expected = reference(theirs, boxes, pair, scale, sampling_ratio, aligned)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
        grad = torch.randn_like(expected)
        result.backward(grad)
        expected.backward(grad)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def test_reversed_box_without_a_grid_gives_zeros() -> None:
    input = torch.randn(1, 20, 8, 8, requires_grad=True)
    result = roi_layers.roi_align(input, torch.tensor([[0.0, 6.0, 1.0, 2.0, 5.0]]), 3, sampling_ratio=0)
    assert (result == 0).all()
    assert (torch.autograd.grad(result.sum(), input)[0] == 0).all()


def test_gradcheck() -> None:
    input = torch.randn(2, 18, 6, 7, dtype=torch.float64, requires_grad=True)
    boxes = random_boxes(8, 2, 6, 7, torch.float64)
    for sampling_ratio, aligned in itertools.product((0, 2), (True, False)):
        assert torch.autograd.gradcheck(
            lambda x, s=sampling_ratio, a=aligned: roi_layers.roi_align(x, boxes, (2, 3), 0.9, s, a), input, fast_mode=True
        )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_not_finite_boxes_give_zeros(bad) -> None:
    """torchvision reads out of bounds here; a RoI without usable coordinates has no samples and no gradient."""
    input = torch.randn(1, 20, 8, 8, requires_grad=True)
    boxes = torch.tensor([[0.0, 1.0, 1.0, 5.0, 5.0]]).repeat(5, 1)
    for column in range(1, 5):
        boxes[column, column] = bad
    for sampling_ratio in (0, 2):
        result = roi_layers.roi_align(input, boxes, 3, 1.0, sampling_ratio)
        torch.testing.assert_close(result[:1], reference(input, boxes[:1], 3, 1.0, sampling_ratio, True))
        if bad == 3e38:  # finite, and with 1 <= x <= 3e38 only the first bin's first sample can be on the map
            assert result.isfinite().all()
        else:
            assert (result[1:] == 0).all()
        (gradient,) = torch.autograd.grad(result.sum(), input)
        assert gradient.isfinite().all()


def test_huge_box_equals_torchvision_and_ends() -> None:
    """An adaptive grid over a box far larger than the map: the same mean, without visiting the samples off the map."""
    input = torch.randn(1, 3, 8, 9, dtype=torch.float64)
    for low, high in ((-300.0, 500.0), (2.0, 1500.0)):
        box = torch.tensor([[0.0, low, low, high, high]], dtype=torch.float64)
        torch.testing.assert_close(roi_layers.roi_align(input, box, 3), reference(input, box, 3, 1.0, 0, True))
    result = roi_layers.roi_align(input, torch.tensor([[0.0, -1e9, -1e9, 1e9, 1e9]], dtype=torch.float64), 3)
    assert result.isfinite().all()
    assert result.abs().max() < 1e-6  # 72 pixels spread over 10^17 samples


def test_zero_sizes() -> None:
    boxes = torch.tensor([[0.0, 1.0, 1.0, 5.0, 5.0]])
    assert roi_layers.roi_align(torch.randn(1, 0, 8, 8), boxes, 3).shape == (1, 0, 3, 3)
    assert roi_layers.roi_align(torch.randn(0, 4, 8, 8), boxes[:0], 3).shape == (0, 4, 3, 3)
    for shape in ((1, 4, 0, 8), (1, 4, 8, 0)):
        input = torch.randn(shape, requires_grad=True)
        result = roi_layers.roi_align(input, boxes, 3)
        assert (result == 0).all()
        result.sum().backward()
        assert input.grad.shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype) -> None:
    input = torch.randn(2, 20, 9, 9).to(dtype).requires_grad_()
    boxes = random_boxes(20, 2, 9, 9)
    result = roi_layers.roi_align(input, boxes, 3, sampling_ratio=2)
    exact = input.detach().float().requires_grad_()
    expected = roi_layers.roi_align(exact, boxes, 3, sampling_ratio=2)
    assert result.dtype == dtype
    torch.testing.assert_close(result, expected.to(dtype), rtol=0, atol=0)
    grad = torch.randn_like(result)
    result.backward(grad)
    expected.backward(grad.float())
    torch.testing.assert_close(input.grad, exact.grad.to(dtype), rtol=0, atol=0)


def test_gradient_does_not_depend_on_threads_or_runs() -> None:
    input = torch.randn(2, 64, 20, 20, requires_grad=True)
    boxes = random_boxes(200, 2, 20, 20)
    grad = torch.randn(200, 64, 7, 7)
    results, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            results.append(torch.autograd.grad(roi_layers.roi_align(input, boxes, 7), input, grad)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[1], results[2])


def test_gradient_keeps_channels_last() -> None:
    input = torch.randn(2, 20, 6, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(roi_layers.roi_align(input, random_boxes(9, 2, 6, 6), 3).sum(), input)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


class TestPyramid:
    scales = (1 / 4, 1 / 8, 1 / 16)

    def levels(self, dtype=torch.float32):
        return [torch.randn(2, 20, 64 // 2**i, 48 // 2**i, dtype=dtype, requires_grad=True) for i in range(3)]

    def test_equals_a_loop_over_levels(self) -> None:
        levels = self.levels(torch.float64)
        boxes = random_boxes(80, 2, 256, 192, torch.float64)
        side = torch.tensor([28.0, 55.9, 56.0, 111.9, 112.0, 224.0, 448.0, 4.0], dtype=torch.float64)
        boxes[:8, 1:] = torch.stack([side * 0, side * 0, side, side], dim=1)
        result = roi_layers.roi_align_pyramid(levels, boxes, 7, self.scales, 2)
        level = ((boxes[:, 3:] - boxes[:, 1:3]).prod(dim=1).sqrt() / 56 + 1e-6).log2().floor().clamp(0, 2).long()
        single = [reference(levels[n], box[None], 7, self.scales[n], 2, True) for n, box in zip(level, boxes, strict=True)]
        expected = torch.cat(single)
        torch.testing.assert_close(result, expected)
        grad = torch.randn_like(result)
        for ours, theirs in zip(
            torch.autograd.grad(result, levels, grad), torch.autograd.grad(expected, levels, grad), strict=True
        ):
            torch.testing.assert_close(ours, theirs)

    def test_one_level_is_roi_align(self) -> None:
        level = self.levels()[0]
        boxes = random_boxes(20, 2, 256, 192)
        assert torch.equal(
            roi_layers.roi_align_pyramid([level], boxes, 7, [0.25]), roi_layers.roi_align(level, boxes, 7, 0.25)
        )

    def test_gradcheck(self) -> None:
        levels = [torch.randn(1, 3, 8 // 2**i, 8 // 2**i, dtype=torch.float64, requires_grad=True) for i in range(2)]
        boxes = torch.tensor([[0, 1, 1, 5, 5], [0, 0, 0, 16, 16]], dtype=torch.float64)
        assert torch.autograd.gradcheck(
            lambda *x: roi_layers.roi_align_pyramid(x, boxes, 2, [0.5, 0.25], 0, True, 4.0), levels
        )

    def test_bad_input(self) -> None:
        boxes = random_boxes(3, 2, 64, 48)
        with pytest.raises(ValueError, match="one scale per level"):
            roi_layers.roi_align_pyramid(self.levels(), boxes, 7, [0.25])
        with pytest.raises(RuntimeError, match="same batch size and channels"):
            roi_layers.roi_align_pyramid([torch.randn(2, 4, 8, 8), torch.randn(2, 5, 4, 4)], boxes, 7, [0.25, 0.125])
