"""The slow definitions agree with torchvision, so that either can be the reference."""

import pytest
import torch

from tests.csrc import definitions, reference
from tests.csrc.test_nms import make_boxes
from tests.csrc.test_roi_align import random_boxes

pytestmark = pytest.mark.skipif(reference.NAME != "torchvision", reason="torchvision does not load")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ratio", [-1, 2])
@pytest.mark.parametrize("aligned", [False, True])
def test_roi_align(aligned, ratio, dtype) -> None:
    input, boxes = torch.randn(2, 3, 9, 13, dtype=dtype, requires_grad=True), random_boxes(30, 2, 18, 26, dtype)
    if ratio < 0:
        boxes = torch.cat([boxes[:1], boxes[2:]])  # torchvision fails for a reversed box here
    theirs = reference.roi_align(input, boxes, (3, 4), 0.5, ratio, aligned)
    ours = definitions.roi_align(input, boxes, (3, 4), 0.5, ratio, aligned)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    grad = torch.randn_like(ours)
    for a, b in zip(torch.autograd.grad(ours, input, grad), torch.autograd.grad(theirs, input, grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_roi_pool(dtype) -> None:
    input, boxes = torch.randn(2, 3, 9, 13, dtype=dtype, requires_grad=True), random_boxes(30, 2, 18, 26, dtype)
    ours, theirs = definitions.roi_pool(input, boxes, (3, 4), 0.5), reference.roi_pool(input, boxes, (3, 4), 0.5)
    assert torch.equal(ours, theirs)
    grad = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad(ours, input, grad)[0], torch.autograd.grad(theirs, input, grad)[0], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["random", "clustered", "integers"])
def test_nms(kind) -> None:
    boxes, scores = make_boxes(300, kind)
    boxes[:9, 1] = torch.tensor([float("nan"), float("inf"), -float("inf")]).repeat(3)
    for threshold in (-0.5, 0.0, 0.3, 0.7, 1.0):
        assert torch.equal(definitions.nms(boxes, scores, threshold), reference.nms(boxes, scores, threshold))
