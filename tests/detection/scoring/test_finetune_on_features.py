"""Fine-tuning on kept features: the same training as through the network, where the regions are the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repmet.data.sources.voc import read_image_set
from repmet.detection.embedding.embedded_image import raw_features
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.sampling import sample_episodes
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.modules import RepMetOHEMSampler
from repmet.detection.protocols.episodic import Pools, evaluate_finetuned
from repmet.detection.scoring.finetune import EpisodeDiverged, FinetuneRule, adapted
from repmet.detection.scoring.finetune_on_features import adapted_head, on_kept_features
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule
from repmet.model_definitions.losses.repmet_detection import detection_loss
from repmet.model_definitions.representatives import margin_loss, squared_distances

from mmdet.models.task_modules.samplers import RandomSampler  # isort: skip

RULE = FinetuneRule(epochs=3, lr=0.05, weight_decay=0.01, batch_size=2)


@pytest.fixture
def opened(glyph_run) -> FewShotDetector:
    """A detector that trains on the proposals of testing, and on all of them: then nothing is left to chance."""
    detector = FewShotDetector(glyph_run)
    detector.model.train_cfg.rpn_proposal = detector.model.test_cfg.rpn
    detector.model.roi_head.bbox_sampler = RandomSampler(num=10_000, pos_fraction=0.5, add_gt_as_proposals=True)
    return detector


@pytest.fixture
def supports(glyph_run):
    records = read_image_set(glyph_run / "scenes", "novel_support")[:3]
    chosen = [[(records[0].id, 0), (records[2].id, 1)], [(records[1].id, 1), (records[0].id, 1)]]
    return SupportSet(("first", "second"), chosen, {r.id: r for r in records}, {})


def start(model) -> torch.Tensor:
    torch.manual_seed(1)
    return F.normalize(torch.randn(2, 2, model.roi_head.bbox_head.fc_embed.out_features), dim=-1)


def tuned(opened, supports, rule=RULE):
    embedded = Embedder(opened.model, opened.cfg.test_pipeline)(supports.records.values())
    supports = replace(supports, embedded=embedded)
    return adapted_head(opened.model.roi_head, supports, start(opened.model), rule), embedded


def test_it_is_the_training_through_the_network(opened, supports) -> None:
    head, _ = tuned(opened, supports)
    with adapted(opened.model, opened.cfg.test_pipeline, supports, start(opened.model), RULE) as points:
        through = opened.model.roi_head.bbox_head.fc_embed.weight.detach().clone()
    torch.testing.assert_close(head.representatives.points, points, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(head.fc_embed.weight, through, atol=1e-4, rtol=1e-3)
    assert (head.fc_embed.weight - opened.model.roi_head.bbox_head.fc_embed.weight).abs().max() > 1e-3


def test_one_step_by_hand(opened, supports) -> None:
    """Labels from the overlap of every proposal with every box, one by one; the head's two losses; one step of SGD."""
    rule = FinetuneRule(epochs=1, lr=0.05, momentum=0.0, weight_decay=0.0, batch_size=8)
    head, embedded = tuned(opened, supports, rule)
    base = opened.model.roi_head.bbox_head
    assigner = opened.model.roi_head.bbox_assigner
    features, labels = [], []
    for record in supports.records.values():
        image = embedded[record.id]
        class_of = {b: c for c, boxes in enumerate(supports.boxes) for i, b in boxes if i == record.id}
        features.append(raw_features(image, annotated=True)[list(class_of)])
        labels += class_of.values()
        for p, proposal in enumerate(image.proposals.numpy()):
            overlaps = [overlap(proposal, box) for box in record.boxes]
            inside = [overlap(proposal, box, of_first=True) for box in record.boxes]
            if any(share > assigner.ignore_iof_thr for b, share in enumerate(inside) if b not in class_of):
                continue
            best = max(class_of, key=lambda b, of=overlaps: of[b])
            if overlaps[best] >= assigner.pos_iou_thr:
                labels.append(class_of[best])
            elif overlaps[best] < assigner.neg_iou_thr:
                labels.append(2)
            else:
                continue
            features.append(raw_features(image)[p][None])
    x, y = torch.cat(features), torch.tensor(labels)
    weight = base.fc_embed.weight.detach().clone().requires_grad_()
    points = start(opened.model).requires_grad_()
    d2 = squared_distances(F.normalize(x @ weight.T + base.fc_embed.bias, dim=-1), F.normalize(points, dim=-1))
    near = y < 2
    loss = detection_loss(d2, y, sigma=base.sigma, scale=base.scale).sum()
    loss = (loss + base.embed_weight * margin_loss(d2[near], y[near], base.margin, reduction="sum")) / len(y)
    of_points, of_weight = torch.autograd.grad(loss, [points, weight])
    torch.testing.assert_close(head.fc_embed.weight, (weight - 0.05 * of_weight).detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(head.representatives.weight, (points - 0.05 * of_points).detach(), atol=1e-5, rtol=1e-4)


def overlap(a, b, *, of_first: bool = False) -> float:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    areas = [(box[2:] - box[:2]).prod() for box in (a, b)]
    return shared / (areas[0] if of_first else areas[0] + areas[1] - shared)


def test_the_detector_is_left_as_it_is(opened, supports) -> None:
    before = {name: value.clone() for name, value in opened.model.state_dict().items()}
    flags = {name: p.requires_grad for name, p in opened.model.named_parameters()}
    head, _ = tuned(opened, supports)
    assert all(torch.equal(before[name], value) for name, value in opened.model.state_dict().items())
    assert flags == {name: p.requires_grad for name, p in opened.model.named_parameters()}
    assert not any(p.requires_grad for p in head.parameters())


def test_a_layer_that_the_base_training_kept_fixed_stays(opened, supports) -> None:
    layer = opened.model.roi_head.bbox_head.fc_embed.requires_grad_(False)
    head, _ = tuned(opened, supports)
    torch.testing.assert_close(head.fc_embed.weight, layer.weight, rtol=0, atol=0)
    assert (head.representatives.weight - start(opened.model)).abs().max() > 1e-4


def test_an_episode_that_diverges_is_skipped_and_named(opened, glyph_run, capsys) -> None:
    pools = Pools.of(*(read_image_set(glyph_run / "scenes", f"novel_{role}") for role in ("support", "query")))
    classes = (glyph_run / "scenes/classes_novel.txt").read_text().split()
    both = [list(pool.values()) for pool in (pools.support, pools.query)]
    episodes = sample_episodes(*both, way=2, shots=[1], query_images=1, episodes=2, seed=1, classes=classes)
    embedded = Embedder(opened.model, opened.cfg.test_pipeline)(pools.used_by(episodes))
    rule = FinetuneRule(lr=1e38, epochs=4)
    assert list(evaluate_finetuned(episodes, pools, embedded, FewShotRule(), rule, opened)) == []
    assert "episode 1, 1-shot, is skipped:" in capsys.readouterr().out


def test_only_what_needs_no_network_takes_this_way(opened) -> None:
    assert on_kept_features(opened.model, RULE)
    assert not on_kept_features(opened.model, FinetuneRule(train="head"))
    opened.model.roi_head.bbox_sampler = RepMetOHEMSampler(num=8, context=opened.model.roi_head)
    assert not on_kept_features(opened.model, RULE)


def test_diverging_is_an_error(opened, supports) -> None:
    with pytest.raises(EpisodeDiverged, match="not finite"):
        tuned(opened, supports, FinetuneRule(lr=1e38, epochs=4))
