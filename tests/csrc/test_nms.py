"""Non-maximum suppression of csrc against torchvision and the textbook double loop."""

import pytest
import torch

from repmet.model_definitions import roi_layers
from tests.csrc.reference import nms as reference

pytestmark = pytest.mark.skipif(roi_layers.backend() != "csrc", reason="csrc is not compiled")


def make_boxes(count: int, kind: str, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    if kind == "clustered":
        centre = (torch.rand(max(count // 40, 1), 2) * 500)[torch.randint(0, max(count // 40, 1), (count,))]
        corner, size = centre + torch.randn(count, 2) * 5, torch.rand(count, 2) * 20 + 50
    elif kind == "integers":  # many ties in IoU and in score
        corner, size = torch.randint(0, 12, (count, 2)).float(), torch.randint(0, 8, (count, 2)).float()
    else:
        corner, size = torch.rand(count, 2) * 500, torch.rand(count, 2) * 120
    scores = torch.randint(0, 20, (count,)).float() if kind == "integers" else torch.rand(count)
    return torch.cat([corner, corner + size], dim=1).to(dtype), scores.to(dtype)


def loop_over_classes(boxes, scores, classes, threshold) -> torch.Tensor:
    keep = torch.zeros(len(boxes), dtype=torch.bool)
    for label in classes.unique():
        members = (classes == label).nonzero()[:, 0]
        keep[members[reference(boxes[members], scores[members], threshold)]] = True
    order = scores.argsort(descending=True, stable=True)
    return order[keep[order]]


def test_by_hand() -> None:
    """IoU of the first two is 50 / 150; a threshold of exactly that keeps both, anything less drops the second."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 5.0, 10.0, 15.0], [20.0, 20.0, 30.0, 30.0]])
    scores = torch.tensor([0.6, 0.9, 0.7])
    assert roi_layers.nms(boxes, scores, 1 / 3 + 1e-6).tolist() == [1, 2, 0]
    assert roi_layers.nms(boxes, scores, 0.33).tolist() == [1, 2]
    assert roi_layers.batched_nms(boxes, scores, torch.tensor([0, 1, 0]), 0.33).tolist() == [1, 2, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["random", "clustered", "integers"])
@pytest.mark.parametrize("count", [0, 1, 2, 31, 33, 127, 128, 129, 500, 3000])
def test_equals_torchvision(count, kind, dtype) -> None:
    boxes, scores = make_boxes(count, kind, dtype)
    for threshold in (-0.1, 0.0, 0.3, 0.5, 0.7, 1.0, 1.5):
        if threshold < 0 and count > 500:
            continue
        assert torch.equal(roi_layers.nms(boxes, scores, threshold), reference(boxes, scores, threshold)), threshold


@pytest.mark.parametrize("classes", [1, 7, 1000])
@pytest.mark.parametrize("kind", ["random", "clustered", "integers"])
def test_batched_equals_a_loop_over_classes(kind, classes) -> None:
    boxes, scores = make_boxes(1500, kind)
    labels = torch.randint(-classes, classes, (1500,)) * 10**12
    assert torch.equal(roi_layers.batched_nms(boxes, scores, labels, 0.4), loop_over_classes(boxes, scores, labels, 0.4))


def test_strange_boxes_equal_torchvision() -> None:
    boxes, scores = make_boxes(400, "random")
    strange = [float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-38, 0.0]
    for i in range(200):
        boxes[i, i % 4] = strange[i % len(strange)]
    boxes[200:220] = boxes[200:220].flip(1)  # reversed
    boxes[220:240, 2:] = boxes[220:240, :2]  # empty
    boxes[240:260] = boxes[240:260] * 1e-22  # areas below the smallest normal number
    for threshold in (0.0, 0.5, 0.7):
        assert torch.equal(roi_layers.nms(boxes, scores, threshold), reference(boxes, scores, threshold))


def test_equal_scores_keep_their_order() -> None:
    boxes = torch.arange(6.0)[:, None] * 100 + torch.tensor([0.0, 0.0, 10.0, 10.0])
    assert roi_layers.nms(boxes, torch.ones(6), 0.5).tolist() == [0, 1, 2, 3, 4, 5]


def test_strided_and_half_boxes() -> None:
    boxes, scores = make_boxes(100, "clustered")
    wide = torch.zeros(100, 8)
    wide[:, ::2] = boxes
    assert torch.equal(roi_layers.nms(wide[:, ::2], scores, 0.5), reference(boxes, scores, 0.5))
    half = boxes.half()
    assert torch.equal(roi_layers.nms(half, scores.half(), 0.5), reference(half.float(), scores.half().float(), 0.5))


def test_a_hundred_thousand_boxes_end() -> None:
    boxes, scores = make_boxes(100_000, "random")
    kept = roi_layers.nms(boxes * 20, scores, 0.5)
    assert 10_000 < len(kept) < 100_000
    assert (scores[kept].diff() <= 0).all()


def test_bad_input() -> None:
    boxes, scores = make_boxes(5, "random")
    for arguments, message in (
        ((boxes[:, :3], scores), "N, 4"),
        ((boxes, scores[:3]), "scores must be"),
        ((boxes.long(), scores), "floating point"),
        ((boxes, scores.long()), "floating point"),
        ((boxes, scores.to("meta")), "meta"),
    ):
        with pytest.raises(ValueError, match=message):
            roi_layers.nms(*arguments, 0.5)
    with pytest.raises(RuntimeError, match="NaN"):
        roi_layers.nms(boxes, scores, float("nan"))
    with pytest.raises(ValueError, match="integers"):
        roi_layers.batched_nms(boxes, scores, scores, 0.5)
    with pytest.raises(RuntimeError, match="int64"):
        torch.ops.repmet.batched_nms(boxes, scores, torch.zeros(5, dtype=torch.int32), 0.5)
