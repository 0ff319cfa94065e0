"""RepMetBBoxHead's losses, recomputed by hand, and that they train mmdet's own Faster R-CNN."""

import math

import pytest
import torch
from small_heads import OBJECTS, N, lively, regions, small_head
from torchvision.ops import box_iou


def naive_losses(head, scores, deltas, labels, weights, targets, box_weights):
    """The published losses, region by region: sums over regions, divided by the number of regions."""
    classes, modes, _ = head.representatives.weight.shape
    sums = dict.fromkeys(("loss_cls", "loss_embed", "loss_aux", "loss_bbox"), 0.0)
    right = []
    for r, (label, weight) in enumerate(zip(labels.tolist(), weights.tolist(), strict=True)):
        row = scores[r].tolist()
        d2 = [row[c * modes : (c + 1) * modes] for c in range(classes)]
        s = [max(math.exp(-d / (2 * head.sigma**2)) for d in of_class) for of_class in d2]
        s.append(1 - max(s))
        total = sum(math.exp(head.scale * v) for v in s)
        sums["loss_cls"] += weight * -math.log(math.exp(head.scale * s[label]) / total)
        aux = row[classes * modes :]
        if aux:
            sums["loss_aux"] += weight * (math.log(sum(map(math.exp, aux))) - aux[label])
        if label == classes:
            continue
        nearest = [min(of_class) for of_class in d2]
        other = min(v for c, v in enumerate(nearest) if c != label)
        sums["loss_embed"] += weight * head.embed_weight * max(0.0, nearest[label] - other + head.margin)
        right.append(nearest.index(min(nearest)) == label)
        of_label = deltas[r] if head.reg_class_agnostic else deltas[r, 4 * label : 4 * label + 4]
        for x, t, w in zip(of_label.tolist(), targets[r].tolist(), box_weights[r].tolist(), strict=True):
            sums["loss_bbox"] += w * (0.5 * (x - t) ** 2 if abs(x - t) < 1 else abs(x - t) - 0.5)
    counted = sum(w > 0 for w in weights.tolist())
    result = {name: value / (len(labels) if name == "loss_bbox" else counted) for name, value in sums.items()}
    return result | {"acc_fg": 100 * sum(right) / len(right)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aux_classifier": False},
        {"reg_class_agnostic": False},
        {"normalize_representatives": False, "separable": False},
        {"sigma": 0.3, "scale": 5.0, "margin": 1.5, "embed_weight": 0.2, "num_modes": 1},
    ],
    ids=["published", "no-aux", "boxes-by-class", "free-representatives", "other-numbers"],
)
def test_losses_equal_a_naive_recomputation(changes):
    head = small_head(**changes).train()
    features, rois, targets = regions(head)
    scores, deltas = head(features)
    losses = head.loss(scores, deltas, rois, *targets)
    expected = naive_losses(head, scores, deltas, *targets)
    if changes.get("aux_classifier") is False:
        del expected["loss_aux"]
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert losses["loss_embed"] > 0 and losses["loss_bbox"] > 0


def test_the_box_loss_is_that_of_mmdets_head():
    from mmdet.models.roi_heads.bbox_heads import BBoxHead

    head = small_head()
    features, rois, targets = regions(head)
    scores, deltas = head(features)
    smooth = {"type": "SmoothL1Loss", "beta": 1.0}
    theirs = BBoxHead(num_classes=N, with_cls=False, reg_class_agnostic=True, loss_bbox=smooth)
    expected = theirs.loss(None, deltas, rois, *targets)["loss_bbox"]
    torch.testing.assert_close(head.loss(scores, deltas, rois, *targets)["loss_bbox"], expected)


def test_losses_of_every_region_add_up_to_the_means():
    head = small_head().train()
    features, rois, targets = regions(head)
    scores, deltas = head(features)
    means = head.loss(scores, deltas, rois, *targets)
    every = head.loss(scores, deltas, rois, *targets, reduction_override="none")
    assert every["loss_bbox"].shape == (5, 4)  # mmdet's: the foreground regions alone
    torch.testing.assert_close(every["loss_bbox"].sum() / 12, means["loss_bbox"])
    for name in ("loss_cls", "loss_embed", "loss_aux"):
        assert every[name].shape == (12,)
        torch.testing.assert_close(every[name].sum() / 10, means[name])  # two regions have weight 0
    assert (every["loss_embed"][5:] == 0).all() and every["loss_cls"][[1, 8]].tolist() == [0, 0]


def test_background_regions_take_no_embedding_loss():
    head = small_head().train()
    features, rois, (labels, weights, targets, box_weights) = regions(head)
    scores, deltas = head(features)
    losses = head.loss(scores, deltas, rois, torch.full_like(labels, N), weights, 0 * targets, 0 * box_weights)
    assert losses["loss_embed"] == 0 and losses["loss_bbox"] == 0 and losses["acc_fg"] == 0
    assert losses["loss_cls"] > 0
    sum(v for k, v in losses.items() if "loss" in k).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_no_regions_at_all():
    head = small_head().train()
    features, rois, targets = (v[:0] if torch.is_tensor(v) else tuple(t[:0] for t in v) for v in regions(head))
    scores, deltas = head(features)
    losses = head.loss(scores, deltas, rois, *targets)
    assert all(losses[name] == 0 for name in ("loss_cls", "loss_embed", "loss_bbox"))
    sum(v for k, v in losses.items() if "loss" in k).backward()


def test_boxes_are_optional_as_in_mmdet():
    head = small_head().train()
    features, rois, targets = regions(head)
    assert "loss_bbox" not in head.loss(head(features)[0], None, rois, *targets)


def test_a_training_step_of_the_detector_reaches_every_part(build_detector, make_batch):
    model = build_detector().train()
    losses = model.loss(**make_batch(model, OBJECTS))
    assert {"loss_cls", "loss_embed", "loss_aux", "loss_bbox", "loss_rpn_cls", "loss_rpn_bbox", "acc_fg"} == losses.keys()
    total, shown = model.parse_losses(losses)
    assert all(torch.isfinite(v) for v in shown.values())
    total.backward()
    head = model.roi_head.bbox_head
    reached = {
        "backbone": model.backbone.conv1.weight,
        "neck": model.neck.lateral_convs[0].conv.weight,
        "first layer": head.fcs[0].weight,
        "second layer": head.fcs[1].weight,
        "embedding": head.fc_embed.weight,
        "representatives": head.representatives.weight,
        "auxiliary classifier": head.fc_aux.weight,
        "boxes": head.fc_reg.weight,
    }
    for name, parameter in reached.items():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0, name
    without = build_detector({"aux_classifier": False}).train()
    losses = without.loss(**make_batch(without, OBJECTS))
    assert "loss_aux" not in losses and not any("aux" in name for name, _ in without.named_parameters())


@pytest.mark.parametrize("agnostic", [True, False])
def test_the_detector_learns_two_images_by_heart(build_detector, make_batch, agnostic):
    model = build_detector({"reg_class_agnostic": agnostic}, sampler={"type": "RepMetOHEMSampler", "num": 24})
    lively(model.roi_head.bbox_head)  # the published initial weights are made for longer trainings
    data = make_batch(model.train(), OBJECTS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(110):
        optimizer.param_groups[0]["lr"] = 5e-3 if step < 80 else 5e-4
        losses = model.loss(**data)
        total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    for sample, objects in zip(model.eval().predict(**make_batch(model, OBJECTS)), OBJECTS, strict=True):
        predicted = sample.pred_instances
        for label, box in objects:
            mine = predicted[predicted.labels == label]
            assert len(mine), f"class {label} was not found"
            best = mine.scores.argmax()
            assert mine.scores[best] > 0.5
            assert box_iou(mine.bboxes[best, None], torch.tensor([box]).float()).item() > 0.5


def test_a_batch_without_any_object(build_detector, make_batch):
    model = build_detector().train()
    losses = model.loss(**make_batch(model, [[], []]))
    total, _ = model.parse_losses(losses)
    assert losses["loss_embed"] == 0 and losses["loss_bbox"] == 0 and torch.isfinite(total)
    total.backward()


@pytest.mark.parametrize("sampler", ["RandomSampler", "RepMetOHEMSampler"])
@pytest.mark.parametrize("agnostic", [True, False])
def test_training_without_proposals(build_detector, make_batch, sampler, agnostic):
    sampler = {"type": sampler, "num": 8} | ({"pos_fraction": 0.25} if sampler == "RandomSampler" else {})
    model = build_detector({"reg_class_agnostic": agnostic}, sampler=sampler).train()
    model.train_cfg.rpn_proposal.min_bbox_size = 10_000  # no proposal is left
    for objects in ([[], []], [OBJECTS[0], []], OBJECTS):
        total, _ = model.parse_losses(model.loss(**make_batch(model, objects)))
        assert torch.isfinite(total)
        total.backward()


@pytest.mark.parametrize("training", [True, False])
def test_mixed_precision(build_detector, make_batch, training):
    model = build_detector().train(training)
    lively(model.roi_head.bbox_head)
    data = make_batch(model, OBJECTS)
    seen = []
    model.roi_head.bbox_head.representatives.register_forward_hook(lambda *a: seen.append((a[1][0].dtype, a[2].dtype)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if training:
            losses = model.loss(**data)
            total, _ = model.parse_losses(losses)
            assert torch.isfinite(total) and losses["loss_cls"].dtype == torch.float32
            total.backward()
            assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        else:
            predicted = model.predict(**data)[0].pred_instances
            assert torch.isfinite(predicted.bboxes).all() and predicted.scores.dtype == torch.float32
    assert seen and all(distances == torch.float32 for _, distances in seen)
