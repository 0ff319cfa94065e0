"""RepMetBBoxHead under mmdet's own Faster R-CNN: its losses, its predictions and its defaults, recomputed by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from torchvision.ops import box_iou, nms

from detection.modules import RepMetBBoxHead

N, K, E = 3, 2, 8
STDS = torch.tensor([0.1, 0.1, 0.2, 0.2])
OBJECTS = [[(0, (10, 10, 50, 60)), (2, (60, 20, 120, 90))], [(1, (5, 5, 40, 40))]]


def lively(head):
    """torch's own initial weights, which are larger than the head's: everything differs from region to region."""
    torch.manual_seed(1)
    for layer in head.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    return head


def small_head(**changes):
    settings = {"num_classes": N, "in_channels": 4, "roi_feat_size": 3, "fc_channels": 16, "embed_dim": E, "num_modes": K}
    return lively(RepMetBBoxHead(**{**settings, **changes}))


def regions(head, count=12, *, seed=2):
    """RoI features, RoIs, and targets as `get_targets` gives them: foreground first, one region of weight 0."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 2, 1, 2, 0, *[N] * (count - 5)])
    weights = torch.ones(count)
    weights[[1, 8]] = 0
    corner = torch.rand(count, 2, generator=g) * 60
    rois = torch.cat([torch.zeros(count, 1), corner, corner + 8 + torch.rand(count, 2, generator=g) * 30], 1)
    targets = torch.randn(count, 4, generator=g) * (labels < N)[:, None]
    box_weights = (labels < N)[:, None].float().expand(-1, 4).clone()
    box_weights[1] = 0
    return torch.randn(count, 4, 3, 3, generator=g), rois, (labels, weights, targets, box_weights)


def naive_losses(head, scores, deltas, labels, weights, targets, box_weights):
    """The published losses, region by region: sums over regions, divided by the number of regions."""
    classes, modes, _ = head.representatives.weight.shape
    sums = dict.fromkeys(("loss_cls", "loss_embed", "loss_aux", "loss_bbox"), 0.0)
    right = []
    for r, (label, weight) in enumerate(zip(labels.tolist(), weights.tolist(), strict=True)):
        row = scores[r].tolist()
        d2 = [row[c * modes : (c + 1) * modes] for c in range(classes)]
        s = [max(math.exp(-d / (2 * head.sigma**2)) for d in own) for own in d2]
        s.append(1 - max(s))
        total = sum(math.exp(head.scale * v) for v in s)
        sums["loss_cls"] += weight * -math.log(math.exp(head.scale * s[label]) / total)
        aux = row[classes * modes :]
        if aux:
            sums["loss_aux"] += weight * (math.log(sum(map(math.exp, aux))) - aux[label])
        if label == classes:
            continue
        nearest = [min(own) for own in d2]
        other = min(v for c, v in enumerate(nearest) if c != label)
        sums["loss_embed"] += weight * head.embed_weight * max(0.0, nearest[label] - other + head.margin)
        right.append(nearest.index(min(nearest)) == label)
        own = deltas[r] if head.reg_class_agnostic else deltas[r, 4 * label : 4 * label + 4]
        for x, t, w in zip(own.tolist(), targets[r].tolist(), box_weights[r].tolist(), strict=True):
            sums["loss_bbox"] += w * (0.5 * (x - t) ** 2 if abs(x - t) < 1 else abs(x - t) - 0.5)
    counted = sum(w > 0 for w in weights.tolist())
    result = {name: value / (len(labels) if name == "loss_bbox" else counted) for name, value in sums.items()}
    return result | {"acc_fg": 100 * sum(right) / len(right)}


# --- losses ----------------------------------------------------------------------------------------------------------------


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
    for sample, own in zip(model.eval().predict(**make_batch(model, OBJECTS)), OBJECTS, strict=True):
        found = sample.pred_instances
        for label, box in own:
            mine = found[found.labels == label]
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
            found = model.predict(**data)[0].pred_instances
            assert torch.isfinite(found.bboxes).all() and found.scores.dtype == torch.float32
    assert seen and all(distances == torch.float32 for _, distances in seen)


# --- predictions -----------------------------------------------------------------------------------------------------------


def by_hand(model, data, *, rescale, score_thr=0.05, iou=0.5, most=30):
    """Boxes, scores and labels of every image, from the network's features on, without mmdet's or the head's functions."""
    head = model.roi_head.bbox_head
    levels = model.extract_feat(data["batch_inputs"])
    samples = data["batch_data_samples"]
    proposals = model.rpn_head.predict(levels, samples, rescale=False)
    results = []
    for k, (sample, found) in enumerate(zip(samples, proposals, strict=True)):
        rois = torch.cat([torch.full((len(found), 1), k), found.bboxes], 1)
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
        size = (found.bboxes[:, 2:] - found.bboxes[:, :2])[:, None]
        centre = found.bboxes[:, None, :2] + size / 2 + deltas[..., :2] * size
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
        results.append(sorted(kept, key=lambda row: -row[0])[:most])
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
        found = [sample.pred_instances for sample in model.predict(**data, rescale=rescale)]
    for got, want in zip(found, expected, strict=True):
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
        one, two = sample.clone(), mirrored.clone()
        one.pred_instances, two.pred_instances = plain, flipped
        (merged,) = tta.merge_preds([[one, two]])
    assert 0 < len(merged.pred_instances) <= 10
    best = torch.cat([plain.scores, flipped.scores]).max()
    assert merged.pred_instances.scores[0] == best


@pytest.mark.parametrize("agnostic", [True, False])
def test_predicting_without_proposals(build_detector, make_batch, agnostic):
    model = build_detector({"reg_class_agnostic": agnostic}, score_thr=0.0).eval()
    data = make_batch(model, OBJECTS)
    with torch.no_grad():
        levels = model.extract_feat(data["batch_inputs"])
        found = model.rpn_head.predict(levels, data["batch_data_samples"], rescale=False)
        none = found[1][:0]
        first, second = model.roi_head.predict(levels, [found[0], none], data["batch_data_samples"], rescale=True)
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


# --- the head itself -------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_published_ones():
    head = RepMetBBoxHead(num_classes=121)
    assert head.representatives.weight.shape == (121, 5, 256)
    assert head.representatives.normalize and head.representatives.separable
    assert (head.sigma, head.scale, head.margin, head.embed_weight) == (0.5, 15.0, 0.5, 1.0)
    assert [fc.weight.shape for fc in head.fcs] == [(1024, 256 * 49), (1024, 1024)] and len(head.convs) == 0
    assert head.fc_embed.weight.shape == (256, 1024)
    assert head.reg_class_agnostic and head.fc_reg.weight.shape == (4, 1024)
    assert head.fc_aux.weight.shape == (122, 1024)
    assert tuple(head.bbox_coder.stds) == (0.1, 0.1, 0.2, 0.2) and tuple(head.bbox_coder.means) == (0, 0, 0, 0)
    boxes = head.loss_bbox
    assert type(boxes).__name__ == "SmoothL1Loss" and (boxes.beta, boxes.loss_weight) == (1.0, 1.0)


@pytest.mark.parametrize("changes", [{}, {"aux_classifier": False}, {"num_fcs": 1}, {"num_convs": 1, "conv_channels": 32}])
def test_initial_weights(changes):
    head = RepMetBBoxHead(20, in_channels=16, roi_feat_size=7, fc_channels=256, **changes)
    before = head.representatives.weight.detach().clone()
    head.init_weights()
    assert torch.equal(head.representatives.weight, before)  # they have their own initialisation
    layers = {"fc_embed": (head.fc_embed, 0.01), "fc_reg": (head.fc_reg, 0.001), "fc_aux": (head.fc_aux, 0.01)}
    layers |= {f"fcs.{i}": (fc, 0.01) for i, fc in enumerate(head.fcs)}
    for name, (layer, deviation) in layers.items():
        if layer is not None:
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1), name
            assert layer.bias.abs().max() == 0, name


@pytest.mark.parametrize(("convs", "fcs"), [(0, 0), (0, 1), (2, 0), (1, 3)])
def test_the_layers_before_the_embedding(convs, fcs):
    head = small_head(num_convs=convs, conv_channels=6, num_fcs=fcs).eval()
    features, *_ = regions(head)
    x = features
    for block in head.convs:
        x = block(x)
        assert x.shape == (12, 6, 3, 3)  # the RoI keeps its size
    x = x.flatten(1)
    for fc in head.fcs:
        x = F.linear(x, fc.weight, fc.bias).clamp_min(0)
    assert len(head.convs) == convs and len(head.fcs) == fcs
    for_embedding, for_boxes = head.roi_features(features)
    assert for_embedding is for_boxes
    torch.testing.assert_close(for_boxes, x)
    assert head.fc_embed.in_features == head.fc_reg.in_features == x.shape[1]


@pytest.mark.parametrize(("convs", "channels"), [(0, 4), (1, 6)])
def test_an_embedding_of_the_averaged_region(convs, channels):
    head = small_head(num_convs=convs, conv_channels=6, num_fcs=1, pooled_embedding=True).eval()
    features, *_ = regions(head)
    x = head.convs(features)
    for_embedding, for_boxes = head.roi_features(features)
    torch.testing.assert_close(for_embedding, x.flatten(2).sum(-1) / 9)
    fc = head.fcs[0]
    torch.testing.assert_close(for_boxes, F.linear(x.flatten(1), fc.weight, fc.bias).clamp_min(0))
    assert head.fc_embed.in_features == head.fc_aux.in_features == channels
    assert head.fc_reg.in_features == 16


def test_where_the_parts_of_a_region_lie_moves_boxes_and_leaves_an_averaged_embedding():
    head = small_head(pooled_embedding=True).eval()
    features, *_ = regions(head)
    (scores, deltas), (turned, moved) = head(features), head(features.flip(-1))
    torch.testing.assert_close(turned, scores)
    assert not torch.allclose(moved, deltas)


def test_the_representatives_deviation():
    weight = RepMetBBoxHead(400, embed_dim=64, in_channels=2, fc_channels=4, representatives_std=0.02).representatives.weight
    assert (weight - weight.mean(0)).std().item() == pytest.approx(0.02, rel=0.05)
    assert (weight[:, 1:] - weight[:, :1]).std().item() == pytest.approx(0.01 * 2**0.5, rel=0.15)


def test_embeddings_have_unit_length_and_scores_are_distances():
    head = small_head()
    features, *_ = regions(head)
    with torch.no_grad():
        hidden, _ = head.roi_features(features)
        embeddings = head.embed(hidden)
        d2 = head.distances(head.eval()(features)[0])
    assert hidden.shape == (12, 16) and hidden.min() >= 0
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(12))
    exact = (embeddings[:, None, None] - head.representatives.points).square().sum(-1)
    torch.testing.assert_close(d2, exact, rtol=1e-4, atol=1e-5)
    assert d2.max() <= 4
    probabilities = head.class_scores(d2)
    assert probabilities.shape == (12, N + 1)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(12))


def test_decoded_boxes_stay_inside_the_image():
    head = small_head()
    roi = torch.tensor([[0, 10.0, 20, 50, 60], [0, 0, 0, 128, 96]])
    meta = {"img_shape": (96, 128), "scale_factor": (2.0, 0.5)}
    deltas = torch.tensor([[1.0, 0, 0, 5 * math.log(2)], [3.0, 3, 0, 0]])
    boxes = head.decode(roi, deltas, meta, rescale=False)
    torch.testing.assert_close(boxes, torch.tensor([[14.0, 0, 54, 80], [38.4, 28.8, 128, 96]]))
    scaled = head.decode(roi, deltas, meta, rescale=True)
    torch.testing.assert_close(scaled, torch.tensor([[7.0, 0, 27, 160], [19.2, 57.6, 64, 192]]))


def test_it_is_registered_under_its_name():
    from mmdet.registry import MODELS, TASK_UTILS

    import detection.modules as modules

    assert MODELS.get("RepMetBBoxHead") is modules.RepMetBBoxHead
    assert TASK_UTILS.get("RepMetOHEMSampler") is modules.RepMetOHEMSampler
