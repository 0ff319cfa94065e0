"""Gradient decoupling: the same detector going forward, scaled gradients going back."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from repmet.detection.modules.gradient_decoupling import DecoupledRoIExtractor, DecoupledRPNHead, GradientDecoupled

OBJECTS = [[(0, (10, 10, 50, 60)), (2, (60, 20, 110, 80))], [(1, (20, 30, 70, 90))]]


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_the_layer_against_autograd_by_hand(factor: float) -> None:
    layer = GradientDecoupled(3, factor)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, torch.stack([x[:, 0] + 0.1, -2 * x[:, 1] + 0.2, 0.5 * x[:, 2] + 0.3], 1))
    g = torch.randn_like(y)
    back = torch.autograd.grad(y, [x, layer.weight, layer.bias], g)
    torch.testing.assert_close(back[0], factor * g * torch.tensor([1.0, -2.0, 0.5])[:, None, None])
    torch.testing.assert_close(back[1], (g * x.detach()).sum((0, 2, 3)))  # at full strength
    torch.testing.assert_close(back[2], g.sum((0, 2, 3)))


def test_a_new_layer_is_the_identity_and_factors_are_fractions() -> None:
    x = torch.randn(1, 4, 3, 3)
    assert torch.equal(GradientDecoupled(4, 0.5)(x), x)
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match=r"is in .0, 1."):
            GradientDecoupled(4, wrong)


@pytest.fixture
def decoupled(build_detector):
    """The detector with both layers, and the plain one of the same weights."""

    def build(rpn: float, roi: float):
        plain = build_detector()
        model = build_detector()
        head, extractor = model.rpn_head, model.roi_head.bbox_roi_extractor
        with DefaultScope.overwrite_default_scope("mmdet"):
            model.rpn_head = DecoupledRPNHead(
                gradient=rpn,
                in_channels=16,
                feat_channels=16,
                anchor_generator=ConfigDict(type="AnchorGenerator", scales=[6], ratios=[1.0], strides=[4, 8, 16, 32, 64]),
                train_cfg=head.train_cfg,
                test_cfg=head.test_cfg,
            )
            model.roi_head.bbox_roi_extractor = DecoupledRoIExtractor(
                gradient=roi,
                roi_layer=ConfigDict(type="RoIAlign", output_size=3, sampling_ratio=2),
                out_channels=extractor.out_channels,
                featmap_strides=[4, 8, 16, 32],
            )
        missing = model.load_state_dict(plain.state_dict(), strict=False)
        assert all("decoupled" in name for name in missing.missing_keys) and not missing.unexpected_keys
        return model.train(), plain.train()

    return build


def gradients(model, make_batch, part: str) -> tuple[dict, dict]:
    """Gradients of the losses of one part: those of the neck, and the losses."""
    torch.manual_seed(1)
    losses = model.loss(**make_batch(model, OBJECTS))
    of_part = {k: v for k, v in losses.items() if k.startswith("loss") and ("rpn" in k) == (part == "rpn")}
    total = sum(sum(v) if isinstance(v, list) else v for v in of_part.values())
    names, weights = zip(*model.neck.named_parameters(), strict=True)
    of_neck = torch.autograd.grad(total, weights, allow_unused=True)
    return dict(zip(names, of_neck, strict=True)), {
        k: torch.stack(v) if isinstance(v, list) else v for k, v in of_part.items()
    }


@pytest.mark.parametrize(("rpn", "roi"), [(0.0, 0.75), (0.5, 0.0)])
def test_losses_are_the_plain_detectors_and_gradients_are_scaled(decoupled, make_batch, rpn, roi) -> None:
    model, plain = decoupled(rpn, roi)
    for part, factor in (("rpn", rpn), ("roi", roi)):
        ours, losses = gradients(model, make_batch, part)
        theirs, expected = gradients(plain, make_batch, part)
        assert losses.keys() == expected.keys()
        for name in losses:
            torch.testing.assert_close(losses[name], expected[name], atol=1e-4, rtol=1e-3)
        used = [name for name in theirs if theirs[name] is not None]
        assert used and any(float(theirs[name].abs().max()) > 0 for name in used)
        for name in used:
            torch.testing.assert_close(ours[name], factor * theirs[name], atol=1e-4, rtol=1e-2)
