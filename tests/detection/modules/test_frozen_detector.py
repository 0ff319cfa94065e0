"""The proposal network on a frozen pyramid: what counts as background."""

import pytest
import torch
from mmengine.structures import InstanceData
from small_photos import pets, small_model
from torchvision.ops import box_iou

pytest.importorskip("timm")


@pytest.fixture(scope="module")
def rpn_head(tmp_path_factory):
    return small_model(pets(tmp_path_factory.mktemp("pets"))).rpn_head


@pytest.mark.parametrize("boxes", [[[10.0, 12, 40, 50], [60, 60, 90, 95]], []])
def test_places_far_from_any_object_count_less(rpn_head, boxes):
    meta = {"img_shape": (96, 96), "pad_shape": (96, 96)}
    levels = rpn_head.prior_generator.grid_priors([(12, 12), (6, 6), (3, 3), (2, 2)], device="cpu")
    anchors, valid = torch.cat(levels), torch.ones(sum(map(len, levels)), dtype=torch.bool)
    truth = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=torch.zeros(len(boxes), dtype=torch.long))
    ignored = InstanceData(bboxes=torch.tensor([[70.0, 5, 90, 30]]), labels=torch.zeros(1, dtype=torch.long))

    def weights(far: float) -> tuple:
        before, rpn_head.far_background = rpn_head.far_background, far
        targets = rpn_head._get_targets_single(
            anchors, valid, [len(a) for a in levels], truth, meta, ignored, unmap_outputs=True
        )
        rpn_head.far_background = before
        return targets[1], targets[2]

    labels, all_alike = weights(1.0)
    _, less = weights(0.25)
    near = box_iou(anchors, truth.bboxes).amax(1) >= 0.1 if boxes else torch.zeros(len(anchors), dtype=torch.bool)
    objects = labels == 0
    assert objects.sum() == 0 or near[objects].any()
    torch.testing.assert_close(less, torch.where(near | objects, all_alike, 0.25 * all_alike))
    assert (less == 0.25).any() and (not boxes or (less == 1).any())
