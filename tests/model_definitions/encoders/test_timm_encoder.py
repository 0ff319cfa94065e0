"""Models of timm as an encoder and as a backbone, against timm's own ways to the same features."""

import pytest
import torch

from repmet.model_definitions.encoders import TimmEncoder, TimmMaps
from repmet.model_definitions.encoders.timm_models import timm_model

timm = pytest.importorskip("timm")
TINY = "test_efficientnet"


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 96)


def state(encoder) -> dict:
    return {k: v for k, v in encoder.trunk.state_dict().items() if "num_batches" not in k}


@torch.no_grad()
def test_the_encoder_gives_what_stands_before_the_classifier(images):
    encoder = TimmEncoder(TINY).eval()
    peer = timm.create_model(TINY, num_classes=0).eval()
    peer.load_state_dict(encoder.trunk.state_dict())
    features = encoder(images)
    assert features.shape == (2, encoder.out_channels)
    torch.testing.assert_close(features, peer(encoder.renormalise(images)))


@torch.no_grad()
def test_the_maps_are_timm_s_rounded_to_half_precision(images):
    maps = TimmMaps(TINY, stages=[2, 3, 4])
    peer = timm.create_model(TINY, features_only=True, out_indices=[2, 3, 4]).eval()
    peer.load_state_dict(state(maps), strict=False)
    assert maps.channels == peer.feature_info.channels()
    assert maps.strides == peer.feature_info.reduction() == [8, 16, 32]
    for ours, theirs in zip(maps(images), peer(maps.renormalise(images)), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
        assert torch.equal(ours, ours.half().float())


def test_a_frozen_backbone_stays_as_it_is(images):
    maps = TimmMaps(TINY).train()
    before = {k: v.clone() for k, v in maps.state_dict().items()}
    assert not any(level.requires_grad for level in maps(images.requires_grad_()))
    assert all(torch.equal(before[k], v) for k, v in maps.state_dict().items())


def test_a_trained_backbone_has_gradients_and_keeps_its_statistics(images):
    maps = TimmMaps(TINY, frozen=False).train()
    statistics = {k: v.clone() for k, v in maps.state_dict().items() if "running" in k}
    maps(images)[-1].square().sum().backward()
    assert maps.trunk.conv_stem.weight.grad.abs().sum() > 0
    assert all(torch.equal(statistics[k], maps.state_dict()[k]) for k in statistics)


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_vit", "vit_tiny_patch16_224"])
def test_a_transformer_gives_a_simple_pyramid(name):
    maps = TimmMaps(name)
    assert maps.strides == [8, 16, 32] and len(set(maps.channels)) == 1
    fine, middle, coarse = maps(torch.randn(1, 3, 64, 128))  # another size than it was trained on
    assert [tuple(m.shape[2:]) for m in (fine, middle, coarse)] == [(8, 16), (4, 8), (2, 4)]
    torch.testing.assert_close(coarse, middle.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)), atol=2e-3, rtol=2e-3)


def test_a_stage_that_is_not_there():
    with pytest.raises(ValueError, match=r"test_efficientnet has the stages 0 to 4, not \[2, 5\]"):
        TimmMaps(TINY, stages=[2, 5])


def test_a_file_needs_no_more_than_is_used(tmp_path):
    maps = TimmMaps(TINY)
    torch.save(maps.trunk.state_dict(), tmp_path / "trunk.pth")
    again = TimmMaps(TINY, tmp_path / "trunk.pth")
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in maps.state_dict().items())


def test_models_without_maps(monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: torch.nn.Identity())
    with pytest.raises(ValueError, match="gives no maps of its stages"):
        TimmMaps(TINY)


@torch.no_grad()
def test_both_trees_see_the_same_network(images):
    encoder, maps = TimmEncoder(TINY).eval(), TimmMaps(TINY)
    maps.trunk.load_state_dict(state(encoder), strict=False)
    last = timm_model(TINY).eval()
    last.load_state_dict(encoder.trunk.state_dict(), strict=False)
    expected = last.forward_intermediates(encoder.renormalise(images), indices=[4], intermediates_only=True)[0]
    torch.testing.assert_close(maps(images)[-1], expected, atol=1e-3, rtol=1e-3)
