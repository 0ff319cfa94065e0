"""RoI layers and NMS in mmcv's table, filled by csrc: stock mmdet models train and predict through them."""

import pytest
import torch

pytest.importorskip("mmcv")
pytest.importorskip("repmet.detection")  # its table comes before mmcv asks for one

from mmcv import ops

from repmet.model_definitions import roi_layers
from tests.detection.mmcv_ops.stock_models import BOXES, faster_rcnn, ours, train_and_predict


@ours
@pytest.mark.parametrize("way", ["csrc", "torchvision"])
def test_stock_faster_rcnn_trains_and_predicts(way, monkeypatch) -> None:
    if way == "torchvision":
        monkeypatch.setattr(roi_layers, "_DEVICES", frozenset())
        monkeypatch.setattr(roi_layers, "_NOTICED", {"cpu"})
    elif roi_layers.backend() != "csrc":
        pytest.skip("csrc is not compiled")
    gradients = train_and_predict(faster_rcnn(depth=50 if way == "csrc" else 18))
    assert gradients["roi_head.bbox_head.fc_cls.weight"].abs().sum() > 0
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@ours
@pytest.mark.parametrize("way", ["csrc", "torchvision"])
def test_roi_layers_through_mmcv(way, monkeypatch) -> None:
    """mmcv's own modules and autograd functions give what torchvision gives, gradients too."""
    import torchvision.ops as reference

    if way == "torchvision":
        monkeypatch.setattr(roi_layers, "_DEVICES", frozenset())
        monkeypatch.setattr(roi_layers, "_NOTICED", {"cpu"})
    elif roi_layers.backend() != "csrc":
        pytest.skip("csrc is not compiled")
    input = torch.randn(2, 5, 12, 10, requires_grad=True)
    for result, expected in (
        (ops.RoIAlign(3, 0.5, 2)(input, BOXES), reference.roi_align(input, BOXES, 3, 0.5, 2, True)),
        (ops.RoIPool(3, 0.5)(input, BOXES), reference.roi_pool(input, BOXES, 3, 0.5)),
    ):
        torch.testing.assert_close(result, expected)
        grad = torch.randn_like(expected)
        torch.testing.assert_close(
            torch.autograd.grad(result, input, grad)[0], torch.autograd.grad(expected, input, grad)[0]
        )


@ours
def test_nms_with_and_without_the_pixel_offset() -> None:
    """Boxes 0..9 and 0..4 (10 and 5 pixels with both edges counted) in x, equal in y: IoU 0.5, or 4/9 without."""
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 4.0, 9.0]])
    scores = torch.tensor([0.9, 0.8])
    assert ops.nms(boxes, scores, 0.47, offset=0)[1].tolist() == [0, 1]
    assert ops.nms(boxes, scores, 0.47, offset=1)[1].tolist() == [0]
    kept, index = ops.batched_nms(boxes, scores, torch.tensor([0, 1]), {"type": "nms", "iou_threshold": 0.1})
    assert index.tolist() == [0, 1]
    assert kept.shape == (2, 5)


@ours
def test_batched_nms_tells_classes_apart_without_shifting_them() -> None:
    """Shifted by 10^7 image widths, as mmcv does, float32 would put these boxes in one place."""
    from mmdet.models.dense_heads import rpn_head

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [4.0, 0.0, 14.0, 10.0], [1.0, 0.0, 11.0, 10.0], [0.0, 0.0, 10.0, 10.0]])
    scores, labels = torch.tensor([0.6, 0.9, 0.8, 0.7]), torch.tensor([10**7, 10**7, 10**7, 3])
    for call in (ops.batched_nms, rpn_head.batched_nms):  # mmdet's heads have it too
        kept, index = call(boxes, scores, labels, {"type": "nms", "iou_threshold": 0.5})
        assert index.tolist() == [1, 3, 0]  # IoU of 1 and 2: 7/13, of 1 and 0: 3/7
        assert torch.equal(kept, torch.cat([boxes, scores[:, None]], dim=1)[index])
    limited = {"type": "nms", "iou_threshold": 0.5, "max_num": 2, "split_thr": 1}
    assert ops.batched_nms(boxes, scores, labels, limited)[1].tolist() == [1, 3]


@ours
def test_batched_nms_leaves_the_rest_to_mmcv() -> None:
    boxes, scores = BOXES[:, 1:], torch.tensor([0.2, 0.9, 0.5])
    options = {"type": "nms", "iou_threshold": 0.05}
    labels = torch.tensor([0, 1, 2])
    assert len(ops.batched_nms(boxes, scores, labels, options)[1]) == 3
    assert ops.batched_nms(boxes, scores, labels, options, class_agnostic=True)[1].tolist() == [1, 2]
    assert ops.batched_nms(boxes, scores, labels, options | {"class_agnostic": True})[1].tolist() == [1, 2]
    assert ops.batched_nms(boxes, scores, labels, options | {"score_threshold": 0.3})[1].tolist() == [1, 2]
    assert ops.batched_nms(boxes, scores, labels, None)[1].tolist() == [1, 2, 0]
    with pytest.raises(NotImplementedError, match="softnms"):
        ops.batched_nms(boxes, scores, labels, {"type": "soft_nms", "iou_threshold": 0.5})
