"""How representatives lie before training: shared offsets of the modes, deviations, seeds."""

import math

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.representatives import Representatives


def test_separable_initialisation():
    weight = Representatives(1000, 16, 256).weight.detach()  # (N, K, e)
    offsets = weight - weight[:, :1]
    torch.testing.assert_close(offsets, offsets[:1].expand_as(offsets), rtol=0, atol=1e-6)  # shared by all classes
    assert (weight - weight.mean(0)).norm(dim=-1).mean().item() == pytest.approx(1.6, abs=0.02)  # |C| = 0.1 sqrt(256)
    assert weight.mean(0).norm(dim=-1).mean().item() == pytest.approx(0.8, abs=0.04)  # |Delta| = 0.05 sqrt(256)
    directions = F.normalize(weight, dim=-1)
    between = torch.einsum("nje,nke->njk", directions, directions)
    modes = between[:, ~torch.eye(16, dtype=torch.bool)].mean().item()
    assert modes == pytest.approx(0.8, abs=0.03)
    strangers = (directions[:-1, 0] * directions[1:, 1]).sum(-1).mean().item()
    assert abs(strangers) < 0.1


def test_other_deviations_and_the_initialisation_without_modes():
    wide = Representatives(400, 4, 64, std=1.0, mode_std=0.25).weight.detach()
    assert (wide - wide.mean(0)).std().item() == pytest.approx(1.0, abs=0.05)
    assert (wide[:, 1:] - wide[:, :1]).std().item() == pytest.approx(0.25 * math.sqrt(2), abs=0.05)
    alone = Representatives(400, 4, 64, separable=False, std=0.3).weight.detach()
    assert alone.std().item() == pytest.approx(0.3, abs=0.01)
    cosines = F.cosine_similarity(alone[:, 0], alone[:, 1], dim=-1)
    assert cosines.mean().abs().item() < 0.05


def test_initialisation_follows_the_seed():
    torch.manual_seed(3)
    first = Representatives(3, 2, 4).weight.detach().clone()
    torch.manual_seed(3)
    again = Representatives(3, 2, 4)
    assert torch.equal(first, again.weight)
    again.reset_parameters()
    assert not torch.equal(first, again.weight)
