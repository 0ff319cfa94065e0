"""RepMetOHEMSampler against a loop over single regions: cross-entropy plus summed smooth L1, one ranking for all."""

import copy
import math

import pytest
import torch
from mmengine.structures import InstanceData

N = 3
STDS = (0.1, 0.1, 0.2, 0.2)
SHARED = {
    "type": "Shared2FCBBoxHead",
    "num_classes": N,
    "in_channels": 16,
    "roi_feat_size": 3,
    "fc_out_channels": 24,
    "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_stds": list(STDS)},
    "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False},
    "loss_bbox": {"type": "SmoothL1Loss", "beta": 1.0},
}
HEADS = {
    "repmet": {},
    "repmet-no-aux": {"aux_classifier": False},
    "repmet-boxes-by-class": {"reg_class_agnostic": False},
    "mmdet": SHARED,
    "mmdet-agnostic": SHARED | {"reg_class_agnostic": True},
}
GT = torch.tensor([[10.0, 10, 50, 60], [60, 20, 120, 90], [5, 50, 40, 90]])
LABELS = torch.tensor([2, 0, 2])


def detector(build_detector, name, num, **sampler):
    """In training mode, with losses that differ between regions; the features of a random image with it."""
    model = build_detector(HEADS[name], sampler={"type": "RepMetOHEMSampler", "num": num, **sampler}).train()
    torch.manual_seed(3)
    for module in model.roi_head.bbox_head.modules():
        if isinstance(module, torch.nn.Linear):
            module.reset_parameters()
    with torch.no_grad():
        levels = list(model.extract_feat(torch.randn(1, 3, 96, 128)))
        head = model.roi_head.bbox_head
        if hasattr(head, "representatives"):  # near embeddings that occur: far from all of them losses tie
            rois = torch.cat([torch.zeros(60, 1), proposals()], 1)
            pooled = model.roi_head.bbox_roi_extractor(levels[:4], rois)
            weight = head.representatives.weight
            weight.copy_(head.embed(head.roi_features(pooled)[0])[::10].view_as(weight) + torch.randn(weight.shape) * 0.3)
    return model, levels


def proposals(count=60):
    """Boxes near the objects and elsewhere, in no order."""
    g = torch.Generator().manual_seed(5)
    near = GT[torch.arange(count // 3) % 3] + torch.randn(count // 3, 4, generator=g) * 4
    corner = torch.rand(count - count // 3, 2, generator=g) * torch.tensor([90.0, 60])
    away = torch.cat([corner, corner + 10 + torch.rand(len(corner), 2, generator=g) * 25], 1)
    return torch.cat([near, away])[torch.randperm(count, generator=g)]


def assigned(model, boxes, gt=GT, labels=LABELS, ignored=()):
    predictions, objects = InstanceData(priors=boxes), InstanceData(bboxes=gt, labels=labels)
    away = InstanceData(bboxes=torch.tensor(ignored).reshape(-1, 4))
    return model.roi_head.bbox_assigner.assign(predictions, objects, away), predictions, objects


def naive_loss(model, levels, box, target):
    """Loss of one region, by hand; `target` is None for background, else (label, object)."""
    roi_head, head = model.roi_head, model.roi_head.bbox_head
    out = roi_head._bbox_forward(levels, torch.cat([torch.zeros(1), box])[None])
    row = out["cls_score"][0].tolist()
    label = N if target is None else target[0]
    if hasattr(head, "representatives"):
        modes = head.representatives.weight.shape[1]
        s = [math.exp(-2 * min(row[c * modes : (c + 1) * modes])) for c in range(N)]
        row = [15 * v for v in (*s, 1 - max(s))]
    loss = math.log(sum(map(math.exp, row))) - row[label]
    if target is not None:
        (x1, y1, x2, y2), (a1, b1, a2, b2) = box.tolist(), target[1].tolist()
        w, h, u, v = x2 - x1, y2 - y1, a2 - a1, b2 - b1
        wanted = ((a1 + a2 - x1 - x2) / 2 / w, (b1 + b2 - y1 - y2) / 2 / h, math.log(u / w), math.log(v / h))
        deltas = out["bbox_pred"][0].tolist()
        deltas = deltas if len(deltas) == 4 else deltas[4 * label : 4 * label + 4]
        for got, want, std in zip(deltas, wanted, STDS, strict=True):
            x = abs(got - want / std)
            loss += 0.5 * x * x if x < 1 else x - 0.5
    return loss


@pytest.mark.parametrize("with_gt", [True, False])
@pytest.mark.parametrize("name", HEADS)
def test_it_keeps_the_regions_of_largest_loss(build_detector, name, with_gt):
    model, levels = detector(build_detector, name, 30, add_gt_as_proposals=with_gt)
    boxes = proposals()
    assign, predictions, objects = assigned(model, boxes)
    every = torch.cat([GT, boxes]) if with_gt else boxes
    owner = assign.gt_inds.tolist()
    owner = [1, 2, 3, *owner] if with_gt else owner
    losses = []
    with torch.no_grad():
        for box, object_id in zip(every, owner, strict=True):
            target = (LABELS[object_id - 1].item(), GT[object_id - 1]) if object_id > 0 else None
            losses.append(naive_loss(model, levels, box, target))
    order = sorted(range(len(every)), key=lambda i: -losses[i])
    assert losses[order[29]] - losses[order[30]] > 1e-4, "a tie would prove nothing"
    hardest = order[:30]
    regions = {"assign_result": assign, "pred_instances": predictions, "gt_instances": objects}  # as mmdet names them
    result = model.roi_head.bbox_sampler.sample(**regions, feats=levels)

    positive = sorted(i for i in hardest if owner[i] > 0)
    negative = sorted(i for i in hardest if owner[i] == 0)
    assert positive and negative, "the case has to mix both"
    assert torch.equal(result.pos_priors, every[positive]) and torch.equal(result.neg_priors, every[negative])
    assert torch.equal(result.priors, every[positive + negative])
    objects_of = torch.tensor([owner[i] - 1 for i in positive])
    assert torch.equal(result.pos_assigned_gt_inds, objects_of)
    assert torch.equal(result.pos_gt_bboxes, GT[objects_of])
    assert torch.equal(result.pos_gt_labels, LABELS[objects_of])
    assert result.pos_is_gt.tolist() == [int(with_gt and i < 3) for i in positive]
    assert (result.num_pos, result.num_neg, result.num_gts) == (len(positive), len(negative), 3)
    assert len(result.pos_inds) == len(positive) and len(result.neg_inds) == len(negative)


def test_positives_have_no_share_of_their_own(build_detector):
    """With a detector that knows the objects by heart none of them is hard, and all places go to background."""
    model, levels = detector(build_detector, "repmet", 10)
    sampler = model.roi_head.bbox_sampler
    assign, predictions, objects = assigned(model, proposals())
    easy = copy.copy(sampler)
    easy.region_losses = lambda result, feats: torch.cat(
        [torch.zeros(len(result.pos_inds)), torch.rand(len(result.neg_inds))]
    )
    assert len(easy.sample(copy.deepcopy(assign), predictions, objects, feats=levels).pos_inds) == 0
    hard = copy.copy(sampler)
    hard.region_losses = lambda result, feats: torch.cat(
        [torch.ones(len(result.pos_inds)), torch.zeros(len(result.neg_inds))]
    )
    assert len(hard.sample(copy.deepcopy(assign), predictions, objects, feats=levels).pos_inds) == 10


@pytest.mark.parametrize("num", [63, 64, 500])
def test_all_regions_where_there_are_no_more(build_detector, num):
    model, levels = detector(build_detector, "repmet", num)
    assign, predictions, objects = assigned(model, proposals())
    owner = torch.cat([torch.tensor([1, 2, 3]), assign.gt_inds])
    result = model.roi_head.bbox_sampler.sample(assign, predictions, objects, feats=levels)
    every = torch.cat([GT, proposals()])
    assert torch.equal(result.pos_priors, every[owner > 0]) and torch.equal(result.neg_priors, every[owner == 0])
    assert torch.equal(result.pos_gt_bboxes, GT[owner[owner > 0] - 1])


@pytest.mark.parametrize("num", [20, 500])
def test_ignored_regions_are_never_kept(build_detector, num):
    model, levels = detector(build_detector, "repmet", num)
    boxes = proposals()
    area = [60.0, 0, 128, 96]
    assign, predictions, objects = assigned(model, boxes, ignored=[area])
    away = boxes[assign.gt_inds == -1]
    assert len(away) >= 5
    result = model.roi_head.bbox_sampler.sample(assign, predictions, objects, feats=levels)
    kept = {tuple(box) for box in result.priors.tolist()}
    assert not kept & {tuple(box) for box in away.tolist()}
    assert len(result.priors) == min(num, 3 + len(boxes) - len(away))


@pytest.mark.parametrize("name", ["repmet", "mmdet"])
@pytest.mark.parametrize("num", [8, 500])
def test_an_image_without_objects(build_detector, name, num):
    model, levels = detector(build_detector, name, num)
    nothing, none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    assign, predictions, objects = assigned(model, proposals(), nothing, none)
    result = model.roi_head.bbox_sampler.sample(assign, predictions, objects, feats=levels)
    assert len(result.pos_priors) == 0 and len(result.neg_priors) == min(num, 60)
    if num == 8:
        with torch.no_grad():
            losses = [naive_loss(model, levels, box, None) for box in proposals()]
        hardest = sorted(sorted(range(60), key=lambda i: -losses[i])[:8])
        assert torch.equal(result.neg_priors, proposals()[hardest])


def test_no_region_at_all(build_detector):
    model, levels = detector(build_detector, "repmet", 8)
    assign, predictions, objects = assigned(model, torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    result = model.roi_head.bbox_sampler.sample(assign, predictions, objects, feats=levels)
    assert result.priors.shape == (0, 4)


def test_it_is_deterministic_draws_nothing_and_keeps_no_graph(build_detector):
    model, levels = detector(build_detector, "repmet", 16)
    sampler = model.roi_head.bbox_sampler
    state = torch.random.get_rng_state()
    levels = [level.requires_grad_() for level in levels]
    results = [sampler.sample(*assigned(model, proposals()), feats=levels) for _ in range(2)]
    assert torch.equal(results[0].priors, results[1].priors)
    assert torch.equal(results[0].pos_assigned_gt_inds, results[1].pos_assigned_gt_inds)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not sampler.region_losses(results[0], levels).requires_grad
    assert model.training and all(p.grad is None for p in model.parameters())


def test_the_caller_s_proposals_are_left_as_they_are(build_detector):
    model, levels = detector(build_detector, "repmet", 16)
    assign, predictions, objects = assigned(model, proposals())
    model.roi_head.bbox_sampler.sample(assign, predictions, objects, feats=levels)
    assert torch.equal(predictions.priors, proposals()) and torch.equal(objects.bboxes, GT)


@pytest.mark.parametrize("name", ["repmet", "mmdet"])
def test_a_training_step_with_it(build_detector, make_batch, name):
    objects = [[(0, (10, 10, 50, 60)), (2, (60, 20, 120, 90))], []]
    model, _ = detector(build_detector, name, 8)
    seen = []
    model.roi_head.bbox_head.register_forward_hook(lambda *a: seen.append(len(a[1][0])))
    losses = model.loss(**make_batch(model, objects))
    total, _ = model.parse_losses(losses)
    total.backward()
    assert seen[-1] == 16 and min(seen[:2]) > 8  # ranked: all; trained: eight an image
    assert torch.isfinite(total) and model.backbone.conv1.weight.grad.abs().sum() > 0


def test_ranking_leaves_batch_statistics_and_modes_alone(build_detector):
    """A head with batch norm is ranked by its running statistics, which stay; and is put back into its mode, whichever."""
    model, levels = detector(build_detector, "mmdet", 16)
    head = model.roi_head.bbox_head
    head.shared_fcs[0] = torch.nn.Sequential(head.shared_fcs[0], torch.nn.BatchNorm1d(24))
    norm = head.shared_fcs[0][1]
    with torch.no_grad():
        norm.running_mean += torch.randn(24)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    kept = []
    for training in (True, False):
        model.roi_head.train(training)
        kept.append(model.roi_head.bbox_sampler.sample(*assigned(model, proposals()), feats=levels).priors)
        assert model.roi_head.training is norm.training is training
    assert torch.equal(*kept)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
