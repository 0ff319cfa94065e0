"""The head on a frozen backbone: what it pools, how it is taught, what it hands on."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from small_photos import pets, small_model

from repmet.model_definitions.roi_layers import roi_align

pytest.importorskip("timm")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_model(pets(tmp_path_factory.mktemp("pets")))


@pytest.fixture(scope="module")
def levels(model):
    torch.manual_seed(1)
    maps = tuple(
        torch.randn(2, c, 96 // s, 96 // s).relu() for c, s in zip(model.backbone.channels, (8, 16, 32), strict=True)
    )
    with torch.no_grad():
        return maps, model.extract_feat(maps)


ROIS = torch.tensor([[0, 4.0, 8, 60, 70], [1, 30, 20, 80, 90], [1, 0, 0, 96, 96]])


@torch.no_grad()
def test_the_embedding_is_read_from_the_frozen_maps_alone(model, levels):
    maps, features = levels
    assert torch.equal(features[-2], maps[1]) and torch.equal(features[-1], maps[2])  # the pyramid hands them on
    extractor, head = model.roi_head.bbox_roi_extractor, model.roi_head.bbox_head
    pooled = extractor(features[: extractor.num_inputs], ROIS)
    embedding = head.embed(head.roi_features(pooled)[0])
    grids = [roi_align(level, ROIS, 3, 1 / s, 2, True) for level, s in zip(maps[1:], (16, 32), strict=True)]
    means = [F.normalize(grid.mean((2, 3)), dim=1) for grid in grids]
    expected = torch.cat([*means, *(head.grid_weight * F.normalize(grid.flatten(1), dim=1) for grid in grids)], 1)
    torch.testing.assert_close(head.roi_features(pooled)[0], expected)
    expected = expected / (2 * (1 + head.grid_weight**2)) ** 0.5
    torch.testing.assert_close(embedding, expected)


@torch.no_grad()
def test_training_pools_the_pyramid_alone(model, levels):
    extractor = model.roi_head.bbox_roi_extractor
    whole = extractor(levels[1][: extractor.num_inputs], ROIS)
    extractor.train()
    part = extractor(levels[1][: extractor.num_inputs], ROIS)
    extractor.eval()
    assert part.shape[1] == 8 * 49 and torch.equal(part, whole[:, : 8 * 49])


def test_objectness_is_taught_how_well_the_predicted_box_fits(model):
    head = model.roi_head.bbox_head
    rois = torch.tensor([[0, 0.0, 0, 10, 10], [0, 0, 0, 10, 10], [0, 50, 50, 60, 60]])
    deltas = torch.zeros(3, 4)
    truth = torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 10]])  # IoU 1 and 1/2 with the unmoved boxes
    targets = torch.cat([head.bbox_coder.encode(rois[:2, 1:], truth), torch.zeros(1, 4)])
    labels = torch.tensor([0, 0, head.num_classes])
    logits = torch.tensor([[0.3], [-1.0], [2.0]])
    weights = torch.tensor([1.0, 1.0, 1.0])
    loss = head.loss(
        logits, deltas, rois, labels, weights, targets, (labels < head.num_classes).float()[:, None].expand(-1, 4)
    )
    p, y = logits[:, 0].sigmoid().double(), torch.tensor([1.0, 0.5, 0.0]).double()
    expected = (y - p).abs() ** 2 * -(y * p.log() + (1 - y) * (1 - p).log())
    torch.testing.assert_close(loss["loss_object"], head.object_weight * expected.mean().float())


@torch.no_grad()
def test_refined_proposals_are_ranked_suppressed_and_bounded(model, levels):
    torch.manual_seed(2)
    proposals = []
    for _ in range(2):
        corner = torch.rand(60, 2) * 50
        proposals.append(
            InstanceData(bboxes=torch.cat([corner, corner + 10 + torch.rand(60, 2) * 30], 1), scores=torch.rand(60))
        )
    metas = [{"img_shape": (96, 96), "scale_factor": (1.0, 1.0)}] * 2
    roi_head = model.roi_head
    kept, roi_head.test_cfg.max_per_img = roi_head.test_cfg.max_per_img, 20
    refined = roi_head.refine(levels[1], proposals, metas)
    roi_head.test_cfg.max_per_img = kept
    from torchvision.ops import box_iou

    for image in refined:
        assert 0 < len(image.bboxes) <= 20
        assert ((image.scores >= 0) & (image.scores <= 1)).all()
        overlaps = box_iou(image.bboxes, image.bboxes).fill_diagonal_(0)
        assert overlaps.max() <= roi_head.test_cfg.nms.iou_threshold
        assert image.bboxes.min() >= 0 and image.bboxes.max() <= 96


@torch.no_grad()
def test_prediction_gives_objects_of_one_class(model, levels):
    from mmdet.structures import DetDataSample

    meta = {
        "img_shape": (96, 96),
        "ori_shape": (48, 48),
        "scale_factor": (2.0, 2.0),
        "pad_shape": (96, 96),
        "batch_input_shape": (96, 96),
    }
    results = model.predict(levels[0], [DetDataSample(metainfo=meta) for _ in range(2)], rescale=True)
    for result in results:
        instances = result.pred_instances
        assert len(instances.bboxes) and instances.labels.unique().tolist() == [0]
        assert instances.bboxes.max() <= 48 and 0 <= instances.scores.min() <= instances.scores.max() <= 1
