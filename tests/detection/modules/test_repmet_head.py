"""RepMetBBoxHead itself: its defaults, its initial weights, its layers, its boxes."""

import math

import pytest
import torch
import torch.nn.functional as F
from small_heads import N, regions, small_head

from repmet.detection.modules import RepMetBBoxHead


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

    import repmet.detection.modules as modules

    assert MODELS.get("RepMetBBoxHead") is modules.RepMetBBoxHead
    assert TASK_UTILS.get("RepMetOHEMSampler") is modules.RepMetOHEMSampler
