"""RepMetBBoxHead's predictions under mmdet's own Faster R-CNN, recomputed by hand."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from small_heads import OBJECTS, STDS, E, K, N, lively, regions, small_head
from torchvision.ops import nms


def by_hand(model, data, *, rescale, score_thr=0.05, iou=0.5, max_per_img=30):
    """Boxes, scores and labels of every image, from the network's features on, without mmdet's or the head's functions."""
    head = model.roi_head.bbox_head
    levels = model.extract_feat(data["batch_inputs"])
    samples = data["batch_data_samples"]
    proposals = model.rpn_head.predict(levels, samples, rescale=False)
    results = []
    for k, (sample, proposed) in enumerate(zip(samples, proposals, strict=True)):
        rois = torch.cat([torch.full((len(proposed), 1), k), proposed.bboxes], 1)
        hidden = model.roi_head.bbox_roi_extractor(levels[:4], rois).flatten(1)
        for fc in head.fcs:
            hidden = F.linear(hidden, fc.weight, fc.bias).clamp_min(0)
        e = F.linear(hidden, head.fc_embed.weight, head.fc_embed.bias)
        e = e / e.norm(dim=1, keepdim=True)
        r = head.representatives.weight / head.representatives.weight.norm(dim=-1, keepdim=True)
        d2 = (e[:, None, None] - r).square().sum(-1)  # (P, N, K)
        s = torch.exp(-2 * d2.min(-1).values)  # sigma 0.5
        scores = torch.softmax(15 * torch.cat([s, 1 - s.max(1, keepdim=True).values], 1), 1)[:, :-1]  # (P, N)

        deltas = F.linear(hidden, head.fc_reg.weight, head.fc_reg.bias).view(len(rois), -1, 4) * STDS  # (P, 1 or N, 4)
        size = (proposed.bboxes[:, 2:] - proposed.bboxes[:, :2])[:, None]
        centre = proposed.bboxes[:, None, :2] + size / 2 + deltas[..., :2] * size
        half = size * deltas[..., 2:].exp() / 2
        boxes = torch.cat([centre - half, centre + half], -1)
        height, width = sample.img_shape
        boxes = boxes.clamp_min(0).minimum(torch.tensor([width, height, width, height]).float())
        if rescale:
            boxes = boxes / torch.tensor(sample.scale_factor).repeat(2)
        boxes = boxes.expand(-1, N, 4)

        kept = []
        for c in range(N):
            over = (scores[:, c] > score_thr).nonzero().flatten()
            over = over[nms(boxes[over, c], scores[over, c], iou)]
            kept += [(scores[i, c].item(), c, boxes[i, c]) for i in over]
        results.append(sorted(kept, key=lambda row: -row[0])[:max_per_img])
    return results


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("agnostic", [True, False])
@pytest.mark.parametrize("score_thr", [0.05, 0.0])
def test_predictions_equal_an_independent_recomputation(build_detector, make_batch, rescale, agnostic, score_thr):
    model = build_detector({"reg_class_agnostic": agnostic}, score_thr=score_thr).eval()
    head = lively(model.roi_head.bbox_head)
    data = make_batch(model, OBJECTS, sizes=[(96, 128), (64, 96)], scale=(1.6, 1.25))
    with torch.no_grad():
        # Representatives on embeddings that occur, else every score is background's.
        seen = []
        hook = head.fc_embed.register_forward_hook(lambda *a: seen.append(a[2]))
        model.predict(**make_batch(model, OBJECTS, sizes=[(96, 128), (64, 96)], scale=(1.6, 1.25)))
        hook.remove()
        features = torch.cat(seen)
        spread = features[torch.linspace(0, len(features) - 1, N * K).long()]
        head.representatives.weight.copy_(spread.view(N, K, E))
        expected = by_hand(model, data, rescale=rescale, score_thr=score_thr)
        predicted = [sample.pred_instances for sample in model.predict(**data, rescale=rescale)]
    for got, want in zip(predicted, expected, strict=True):
        assert len(got) == len(want) > 3
        assert got.labels.unique().numel() > 1
        torch.testing.assert_close(got.scores, torch.tensor([row[0] for row in want]), rtol=1e-4, atol=1e-5)
        assert got.labels.tolist() == [row[1] for row in want]
        torch.testing.assert_close(got.bboxes, torch.stack([row[2] for row in want]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("agnostic", [True, False])
def test_without_a_test_config_the_scores_come_before_nms(agnostic):
    head = small_head(reg_class_agnostic=agnostic).eval()
    features, rois, _ = regions(head)
    meta = {"img_shape": (96, 128), "scale_factor": (2.0, 2.0)}
    with torch.no_grad():
        scores, deltas = head(features)
        (raw,) = head.predict_by_feat((rois,), (scores,), (deltas,), [meta], rcnn_test_cfg=None, rescale=True)
    assert raw.scores.shape == (12, N + 1) and raw.bboxes.shape == (12, 4 if agnostic else 4 * N)
    torch.testing.assert_close(raw.scores.sum(1), torch.ones(12))
    assert raw.bboxes.min() >= 0 and raw.bboxes.view(12, -1, 4)[..., 2].max() <= 64
    settings = ConfigDict(score_thr=0.0, nms={"type": "nms", "iou_threshold": 1.0}, max_per_img=-1)
    with torch.no_grad():
        (all_of_them,) = head.predict_by_feat((rois,), (scores,), (deltas,), [meta], rcnn_test_cfg=settings, rescale=True)
    torch.testing.assert_close(
        all_of_them.scores, raw.scores[:, :N].flatten().sort(descending=True).values, rtol=0, atol=1e-6
    )


def test_test_time_augmentation(build_detector, make_batch):
    """mmdet's own TTA model: an image and its mirror image, merged."""
    from mmdet.models.test_time_augs import DetTTAModel

    model = build_detector(score_thr=0.0).eval()
    tta = DetTTAModel(module=model, tta_cfg=ConfigDict(nms={"type": "nms", "iou_threshold": 0.5}, max_per_img=10))
    data = make_batch(model, [OBJECTS[0]])
    image, sample = data["batch_inputs"][0], data["batch_data_samples"][0]
    mirrored = sample.clone()
    mirrored.set_metainfo({"flip": True, "flip_direction": "horizontal"})
    with torch.no_grad():
        plain = model.predict(image[None], [sample.clone()])[0].pred_instances
        flipped = model.predict(image.flip(-1)[None], [mirrored.clone()])[0].pred_instances
        first, second = sample.clone(), mirrored.clone()
        first.pred_instances, second.pred_instances = plain, flipped
        (merged,) = tta.merge_preds([[first, second]])
    assert 0 < len(merged.pred_instances) <= 10
    best = torch.cat([plain.scores, flipped.scores]).max()
    assert merged.pred_instances.scores[0] == best


@pytest.mark.parametrize("agnostic", [True, False])
def test_predicting_without_proposals(build_detector, make_batch, agnostic):
    model = build_detector({"reg_class_agnostic": agnostic}, score_thr=0.0).eval()
    data = make_batch(model, OBJECTS)
    with torch.no_grad():
        levels = model.extract_feat(data["batch_inputs"])
        proposals = model.rpn_head.predict(levels, data["batch_data_samples"], rescale=False)
        none = proposals[1][:0]
        first, second = model.roi_head.predict(levels, [proposals[0], none], data["batch_data_samples"], rescale=True)
        assert len(first) > 0 and second.bboxes.shape == (0, 4) and len(second.scores) == len(second.labels) == 0
        for result in model.roi_head.predict(levels, [none, none], data["batch_data_samples"], rescale=True):
            assert result.bboxes.shape == (0, 4)


def test_the_auxiliary_classifier_takes_no_part_in_predictions():
    head = small_head()
    features, *_ = regions(head)
    trained, _ = head.train()(features)
    used, _ = head.eval()(features)
    assert trained.shape == (12, N * K + N + 1) and used.shape == (12, N * K)
    torch.testing.assert_close(head.distances(trained), head.distances(used))
