"""NP-RepMet's head in a whole detector: its distances and losses by hand, and what nearly is an object."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope

import repmet.detection.modules  # noqa: F401  (registers the head)

OBJECTS = [[(0, (10, 10, 50, 60)), (2, (60, 20, 110, 80))], [(1, (20, 30, 70, 90))]]
HEAD = {
    "type": "NPRepMetBBoxHead",
    "num_classes": 3,
    "in_channels": 16,
    "roi_feat_size": 3,
    "fc_channels": 24,
    "embed_dim": 8,
    "num_modes": 2,
    "negative_weight": 0.4,
}


@pytest.fixture
def model(build_detector):
    model = build_detector(HEAD).train()
    with torch.no_grad():
        for name in ("fc_embed", "fc_negative"):
            getattr(model.roi_head.bbox_head, name).reset_parameters()
    return model


def iou(a, b) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(w, 0) * max(h, 0)
    return float(inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner))


def test_scores_are_joined_distances(model) -> None:
    head = model.roi_head.bbox_head
    for training in (True, False):
        head.train(training)
        x = torch.randn(6, 16, 3, 3)
        scores, deltas = head(x)
        features, _ = head.roi_features(x)
        e, away = (F.normalize(fc(features), dim=-1) for fc in (head.fc_embed, head.fc_negative))
        points, negatives = (F.normalize(r.weight, dim=-1) for r in (head.representatives, head.negatives))
        positive = ((e[:, None, None] - points) ** 2).sum(-1)
        negative = ((away[:, None, None] - negatives) ** 2).sum(-1)
        joined = (positive + 0.4 * (2 - negative.amin(-1, keepdim=True))).clamp(min=0)
        torch.testing.assert_close(head.distances(scores), joined, atol=1e-5, rtol=1e-4)
        joined_scores, first, second = head.apart(scores)
        torch.testing.assert_close(first, positive, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(second, negative, atol=1e-5, rtol=1e-4)
        assert joined_scores.shape[1] == 6 + (4 if training else 0) and deltas.shape == (6, 4)


def test_losses_of_a_batch_by_a_loop(model, make_batch, monkeypatch) -> None:
    """The regions, targets and scores are caught on their way; `loss_negative` and `loss_embed` follow from them."""
    head, caught = model.roi_head.bbox_head, {}
    loss_and_target = type(head).loss_and_target

    def spy(self, cls_score, bbox_pred, rois, sampling_results, *args, **kwargs):
        caught.update(scores=cls_score, results=sampling_results)
        result = loss_and_target(self, cls_score, bbox_pred, rois, sampling_results, *args, **kwargs)
        return caught.setdefault("result", result)

    monkeypatch.setattr(type(head), "loss_and_target", spy)
    head.negative_iou = (0.05, 0.45)  # so that an untrained detector's proposals hit it
    losses = model.loss(**make_batch(model, OBJECTS))
    labels = caught["result"]["bbox_targets"][0]
    _, positive, negative = head.apart(caught["scores"])
    row, total, near, margin = 0, 0.0, 0, 0.0
    for result in caught["results"]:
        gts = list(zip(result.pos_gt_bboxes.tolist(), result.pos_gt_labels.tolist(), strict=True))
        for k, prior in enumerate(result.priors.tolist()):
            label = int(labels[row])
            if k >= len(result.pos_priors) and gts:
                best, name = max((iou(prior, box), -n) for n, (box, _) in enumerate(gts))
                if 0.05 <= best < 0.45:
                    total += min(negative[row, gts[-name][1]].tolist())
                    near += 1
            if label < 3:
                total -= min(negative[row, label].tolist())
                other = min(min(positive[row, c].tolist()) for c in range(3) if c != label)
                margin += max(0.0, min(positive[row, label].tolist()) - other + head.margin)
            row += 1
    assert near > 2 and row == len(labels)
    assert float(losses["loss_negative"]) == pytest.approx(total / row, abs=1e-4)
    assert float(losses["loss_embed"]) == pytest.approx(margin / row, abs=1e-4)


def test_it_learns_and_predicts(model, make_batch) -> None:
    batch = make_batch(model, OBJECTS)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = {n: p.clone() for n, p in model.roi_head.bbox_head.named_parameters()}
    loss, _ = model.parse_losses(model.loss(**batch))
    loss.backward()
    optimizer.step()
    for name in ("negatives.weight", "fc_negative.weight", "representatives.weight"):
        assert not torch.equal(before[name], dict(model.roi_head.bbox_head.named_parameters())[name])
    model.eval()
    with torch.no_grad(), DefaultScope.overwrite_default_scope("mmdet"):
        predicted = model.predict(**make_batch(model, OBJECTS))
    assert len(predicted) == 2 and all(
        ((s.pred_instances.scores >= 0) & (s.pred_instances.scores <= 1)).all() for s in predicted
    )


def test_hard_example_mining_takes_it(build_detector, make_batch) -> None:
    model = build_detector(HEAD, sampler={"type": "RepMetOHEMSampler", "num": 12}).train()
    losses = model.loss(**make_batch(model, OBJECTS))
    assert {"loss_cls", "loss_embed", "loss_aux", "loss_bbox", "loss_negative"} <= losses.keys()
    assert torch.isfinite(model.parse_losses(losses)[0])
