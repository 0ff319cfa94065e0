"""Random and hostile arguments: every call ends in the right answer or in an exception, never in a crash.

`REPMET_FUZZ` sets the number of rounds (1000). `make sanitize` runs this file on a build with sanitizers.
"""

import os
import random

import pytest
import torch

from repmet.model_definitions import roi_layers
from tests.csrc import reference

pytestmark = pytest.mark.skipif(roi_layers.backend() != "csrc", reason="csrc is not compiled")

ROUNDS = int(os.environ.get("REPMET_FUZZ", "1000"))
ODD = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-45,
    1e-7,
    255.0,
    1e4,
    1e9,
    -1e9,
    1e20,
    3e38,
    -3e38,
    float("inf"),
    -float("inf"),
    float("nan"),
]


def odd_tensor(rng: random.Random, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Ordinary numbers with a few odd ones, in memory that may be strided, transposed or offset."""
    wide = tuple(size * 2 for size in shape) if rng.random() < 0.3 else shape
    tensor = torch.randn(wide) * rng.choice([1, 10, 300])
    flat = tensor.view(-1)
    for _ in range(rng.randrange(4) if flat.numel() else 0):
        flat[rng.randrange(flat.numel())] = rng.choice(ODD)
    tensor = tensor.to(dtype)
    if wide != shape:
        tensor = tensor[tuple(slice(None, None, 2) for _ in shape)]
    elif len(shape) >= 2 and rng.random() < 0.4:
        a, b = rng.sample(range(len(shape)), 2)
        tensor = tensor.transpose(a, b).contiguous().transpose(a, b)
    return tensor


def odd_boxes(rng: random.Random, count: int, batch: int, dtype: torch.dtype) -> torch.Tensor:
    boxes = odd_tensor(rng, (count, 5), dtype)
    boxes[:, 0] = torch.randint(0, max(batch, 1), (count,)).to(dtype)
    if rng.random() < 0.5:
        boxes[:, 3:] = boxes[:, 1:3] + torch.rand(count, 2).to(dtype) * 20
    return boxes


def test_pooling() -> None:
    rng = random.Random(0)
    torch.manual_seed(0)
    compared = 0
    for _ in range(ROUNDS):
        dtype = rng.choice([torch.float32, torch.float64, torch.float16, torch.bfloat16])
        batch, channels = rng.choice([0, 1, 2, 3]), rng.choice([0, 1, 3, 15, 16, 17, 33])
        height, width = rng.choice([0, 1, 2, 7, 20, 33]), rng.choice([0, 1, 2, 7, 20, 33])
        count = 0 if batch == 0 else rng.choice([0, 1, 2, 9, 40])
        input = odd_tensor(rng, (batch, channels, height, width), dtype).detach().requires_grad_()
        boxes = odd_boxes(rng, count, batch, dtype)
        output_size = (rng.choice([1, 2, 7, 14]), rng.choice([1, 3, 7]))
        scale = rng.choice([1.0, 0.25, 1 / 32, 1e-6, 100.0])
        ratio, aligned = rng.choice([-1, 0, 1, 2, 3, 7]), rng.random() < 0.5
        aligned_result = roi_layers.roi_align(input, boxes, output_size, scale, ratio, aligned)
        pooled = roi_layers.roi_pool(input, boxes, output_size, scale)
        pyramid = roi_layers.roi_align_pyramid([input, input], boxes, output_size, [scale, scale / 2], ratio, aligned)
        assert aligned_result.shape == pooled.shape == pyramid.shape == (count, channels, *output_size)
        for result in (aligned_result, pooled, pyramid):
            (gradient,) = torch.autograd.grad(result, input, torch.ones_like(result), retain_graph=True)
            assert gradient.shape == input.shape
        # Where torchvision is defined (finite boxes and features, none huge, a map that is not empty), it must agree.
        tame = boxes.double().isfinite().all() and boxes.double().abs().max() * scale < 300 if count else True
        ordered = bool((boxes[:, 3:] >= boxes[:, 1:3]).all())
        usable = bool(input.isfinite().all()) and (input.numel() == 0 or input.detach().abs().max() < 1e5)
        if dtype in (torch.float32, torch.float64) and tame and (ratio > 0 or ordered) and min(height, width) > 0 and usable:
            expected = reference.roi_align(input.detach(), boxes, output_size, scale, ratio, aligned)
            torch.testing.assert_close(aligned_result, expected, rtol=1e-3, atol=1e-2)
            expected = reference.roi_pool(input.detach(), boxes, output_size, scale)
            torch.testing.assert_close(pooled, expected, rtol=0, atol=0)
            compared += 1
    assert compared > ROUNDS / 50


def test_suppression() -> None:
    rng = random.Random(1)
    torch.manual_seed(1)
    for _ in range(ROUNDS):
        count = rng.choice([0, 1, 2, 31, 33, 127, 128, 200, 600])
        dtype = rng.choice([torch.float32, torch.float64, torch.float16, torch.bfloat16])
        boxes = odd_tensor(rng, (count, 4), dtype)
        if rng.random() < 0.7:
            boxes = torch.cat([boxes[:, :2], boxes[:, :2] + torch.rand(count, 2).to(dtype) * 30], dim=1)
        if rng.random() < 0.2:  # classes told apart by shifted coordinates
            boxes = boxes + torch.randint(0, 5, (count, 1)).to(dtype) * 1000
        if rng.random() < 0.2 and dtype in (torch.float32, torch.float64):  # areas near the ends of the range
            boxes = boxes * rng.choice([1e-22, 1e-19, 1e18])
        scores = odd_tensor(rng, (count,), dtype)
        threshold = rng.choice([-1.0, 0.0, 1e-6, 0.1, 0.5, 0.7, 0.99, 1.0, 2.0, float("inf")])
        kept = roi_layers.nms(boxes, scores, threshold)
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        assert torch.equal(kept, reference.nms(boxes.to(wide), scores.to(wide), threshold))
        assert torch.equal(roi_layers.batched_nms(boxes, scores, torch.zeros(count, dtype=torch.int64), threshold), kept)


def test_wrong_arguments_raise() -> None:
    """Any mixture of shapes and dtypes either works or raises; nothing else may happen."""
    rng = random.Random(2)
    shapes = [(), (0,), (5,), (2, 5), (5, 2), (2, 4), (1, 2, 3), (2, 3, 8, 8), (0, 3, 8, 8), (1, 1, 1, 1, 1)]
    dtypes = [torch.float32, torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64, torch.uint8]
    numbers = [0, 1, 2, -1, 7, 2**31, -(2**63), 2**63 - 1]
    floats = [0.0, 1.0, 0.5, -1.0, 1e300, float("inf"), float("nan")]
    ops, survived = torch.ops.repmet, 0

    def tensor() -> torch.Tensor:
        return torch.zeros(rng.choice(shapes)).to(rng.choice(dtypes))

    def n() -> int:
        return rng.choice(numbers)

    def f() -> float:
        return rng.choice(floats)

    for _ in range(ROUNDS * 3):
        call = rng.choice(
            [
                lambda: ops.roi_align(tensor(), tensor(), n(), n(), f(), n(), True),
                lambda: ops.roi_align_backward(tensor(), tensor(), n(), n(), n(), n(), f(), n(), True, True, False),
                lambda: ops.roi_align_pyramid([tensor(), tensor()], tensor(), n(), n(), [f(), f()], n(), True, f()),
                lambda: ops.roi_align_pyramid_backward(
                    tensor(), tensor(), n(), n(), [n()], [n()], [f()], n(), True, f(), False, False
                ),
                lambda: ops.roi_pool(tensor(), tensor(), n(), n(), f()),
                lambda: ops.roi_pool_backward(tensor(), tensor(), tensor(), n(), n(), n(), n(), f(), True, False),
                lambda: ops.nms(tensor(), tensor(), f()),
                lambda: ops.batched_nms(tensor(), tensor(), tensor(), f()),
            ]
        )
        try:
            call()
            survived += 1
        except (RuntimeError, NotImplementedError, TypeError, MemoryError):
            pass
    assert survived < ROUNDS


def overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """IoU (A, B) of boxes (A, 4) and (B, 4)."""
    corner, far = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    shared = (far - corner).clamp(min=0).prod(dim=2)
    area = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a, b)]
    return shared / (area[0][:, None] + area[1] - shared)


@pytest.mark.skipif(ROUNDS < 1000, reason="too slow for a sanitizer build")
def test_a_million_boxes() -> None:
    count = 1_000_000
    corner = torch.rand(count, 2) * 9000
    boxes, scores = torch.cat([corner, corner + torch.rand(count, 2) * 100 + 1], dim=1), torch.rand(count)
    classes = torch.randint(0, 80, (count,))
    for labels in (classes, None):
        arguments = (boxes, scores) if labels is None else (boxes, scores, labels)
        kept = (roi_layers.nms if labels is None else roi_layers.batched_nms)(*arguments, 0.5)
        assert 100_000 < len(kept) < count
        assert (scores[kept].diff() <= 0).all()
        stays = torch.zeros(count, dtype=torch.bool)
        stays[kept] = True
        sample = torch.arange(0, count, 50_000)  # a box stays exactly if no kept box of a higher score hides it
        hides = (overlap(boxes[sample], boxes[kept]) > 0.5) & (scores[kept] > scores[sample][:, None])
        if labels is not None:
            hides &= labels[kept] == labels[sample][:, None]
        assert torch.equal(stays[sample], ~hides.any(dim=1))
    rois = torch.cat([torch.zeros(count, 1), boxes], dim=1)
    map = torch.ones(1, 1, 50, 50, requires_grad=True)  # at a scale of 1/200 every box lies on it
    for pool in (roi_layers.roi_align, roi_layers.roi_pool):
        pooled = pool(map, rois, 1, 1 / 200)
        torch.testing.assert_close(pooled, torch.ones(count, 1, 1, 1))
        (gradient,) = torch.autograd.grad(pooled.sum(), map)
        torch.testing.assert_close(gradient.double().sum().item(), float(count), rtol=1e-4, atol=0)
    pooled = roi_layers.roi_align_pyramid([map, map], rois, 1, [1 / 200, 1 / 400])
    torch.testing.assert_close(pooled, torch.ones(count, 1, 1, 1))
