"""The guidance inside losses of pytorch-metric-learning adds what it is, and moves their proxies."""

import pytest
import torch
from pytorch_metric_learning import losses

from repmet.classification.pml.parts import build
from repmet.classification.pml.regularizers import DistortionRegularizer, RankRegularizer
from repmet.model_definitions.losses.distortion import DistortionLoss
from repmet.model_definitions.losses.rank import RankLoss

K, D, B = 5, 4, 12
COSTS = (torch.arange(5.0)[:, None] - torch.arange(5.0)).abs()


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_proxy_anchor_with_distortion(weight):
    x, y = torch.randn(B, D), torch.arange(B) % K
    plain = losses.ProxyAnchorLoss(K, D)
    guided = losses.ProxyAnchorLoss(
        K, D, weight_regularizer=DistortionRegularizer(COSTS, scale_free=False), weight_reg_weight=weight
    )
    guided.load_state_dict(plain.state_dict())
    added = weight * DistortionLoss(COSTS, scale_free=False)(plain.proxies)
    ours = guided(x, y)
    torch.testing.assert_close(ours, plain(x, y) + added)
    [with_guidance] = torch.autograd.grad(ours, guided.proxies)
    [expected] = torch.autograd.grad(plain(x, y) + added, plain.proxies)
    torch.testing.assert_close(with_guidance, expected)


def test_rank_and_a_loss_that_stores_its_weights_the_other_way():
    x, y = torch.randn(B, D), torch.arange(B) % K
    plain = losses.NormalizedSoftmaxLoss(K, D)
    guided = losses.NormalizedSoftmaxLoss(K, D, weight_regularizer=RankRegularizer(COSTS, 50), weight_reg_weight=2.0)
    guided.load_state_dict(plain.state_dict())
    torch.manual_seed(3)
    ours = guided(x, y)
    torch.manual_seed(3)
    torch.testing.assert_close(ours, plain(x, y) + 2 * RankLoss(COSTS, 50)(plain.W.T))


def test_several_proxies_a_class():
    x, y = torch.randn(B, D), torch.arange(B) % K
    guided = losses.SoftTripleLoss(K, D, centers_per_class=3, weight_regularizer=DistortionRegularizer(COSTS.tolist()))
    plain = losses.SoftTripleLoss(K, D, centers_per_class=3)
    plain.load_state_dict(guided.state_dict(), strict=False)
    means = plain.fc.T.unflatten(0, (K, 3)).mean(1)
    torch.testing.assert_close(guided(x, y), plain(x, y) + DistortionLoss(COSTS)(means))


def test_proxies_that_do_not_divide():
    with pytest.raises(ValueError, match="4 proxies do not divide among the 5 classes"):
        losses.ProxyAnchorLoss(4, D, weight_regularizer=DistortionRegularizer(COSTS))(torch.randn(4, D), torch.arange(4))


def test_from_a_section_of_yaml():
    section = {
        "type": "pml.ProxyAnchorLoss",
        "weight_regularizer": {"type": "DistortionRegularizer", "D": COSTS.tolist()},
        "weight_reg_weight": 2.0,
    }
    guided = build(section, "loss", {"num_classes": K, "embedding_size": D})
    plain = losses.ProxyAnchorLoss(K, D)
    plain.load_state_dict(guided.state_dict(), strict=False)
    x, y = torch.randn(B, D), torch.arange(B) % K
    torch.testing.assert_close(guided(x, y), plain(x, y) + 2 * DistortionLoss(COSTS)(plain.proxies))
