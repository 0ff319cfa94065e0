"""Encoders of torchvision: where they are cut, whose weights they have, and what they say when some are missing."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from repmet.model_definitions.encoders import Inception, TorchvisionEncoder, pretrained

TRUNK = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]


@pytest.fixture(scope="module")
def resnet() -> models.ResNet:
    """With statistics of batch norm that are not the initial ones."""
    torch.manual_seed(1)  # another one than that of the tests
    model = models.resnet18()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture(scope="module")
def whole(resnet: models.ResNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(resnet.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def partial(resnet: models.ResNet, whole: Path) -> Path:
    """Weights up to layer3, without the counts of batches, as shared files of weights come."""
    kept = {k: v for k, v in resnet.state_dict().items() if "layer4" not in k and "num_batches" not in k}
    path = whole.with_name("partial.pth")
    torch.save(kept, path)
    return path


def up_to(model: models.ResNet, last: str, x: torch.Tensor) -> torch.Tensor:
    for name in TRUNK[: TRUNK.index(last) + 1]:
        x = getattr(model, name)(x)
    return x


@torch.no_grad()
@pytest.mark.parametrize(("last", "channels"), [("layer2", 128), ("layer4", 512)])
@pytest.mark.parametrize("pooled", [1, 2])
def test_cut_at_a_layer(resnet: models.ResNet, whole: Path, last: str, channels: int, pooled: int) -> None:
    encoder = TorchvisionEncoder("resnet18", whole, last_layer=last, pooled=pooled).eval()
    images = torch.randn(2, 3, 64, 64)
    features = up_to(resnet, last, images)  # (B, C, h, w)
    half = features.shape[-1] // pooled
    cells = [
        features[..., i * half : (i + 1) * half, j * half : (j + 1) * half] for i in range(pooled) for j in range(pooled)
    ]
    expected = torch.stack([cell.mean((-2, -1)) for cell in cells], -1).flatten(1)
    torch.testing.assert_close(encoder(images), expected)
    assert encoder.out_channels == channels * pooled**2
    assert not any(
        name.startswith(("trunk.fc", "trunk.layer4") if last == "layer2" else "trunk.fc") for name in encoder.state_dict()
    )


@torch.no_grad()
def test_all_but_the_classifier(resnet: models.ResNet, whole: Path) -> None:
    encoder = TorchvisionEncoder("resnet18", whole).eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(F.linear(encoder(images), resnet.fc.weight, resnet.fc.bias), resnet(images))


@pytest.mark.parametrize(
    ("name", "channels"), [("shufflenet_v2_x0_5", 1024), ("mobilenet_v3_small", 576), ("squeezenet1_1", 512)]
)
def test_other_families(name: str, channels: int) -> None:
    encoder = TorchvisionEncoder(name, frozen=True)
    assert encoder.out_channels == channels and encoder(torch.randn(2, 3, 64, 64)).shape == (2, channels)


def test_building_leaves_train_mode_and_statistics_alone() -> None:
    encoder = TorchvisionEncoder("resnet18", last_layer="layer1")
    assert all(module.training for module in encoder.modules())
    assert (encoder.state_dict()["trunk.bn1.running_mean"] == 0).all()


# --- weights ---------------------------------------------------------------------------------------------------------------


def test_a_partial_file_is_enough_for_the_part_that_it_holds(resnet: models.ResNet, partial: Path) -> None:
    encoder = TorchvisionEncoder("resnet18", partial, last_layer="layer3")
    for key, value in encoder.trunk.state_dict().items():
        assert "num_batches" in key or torch.equal(value, resnet.state_dict()[key]), key


@pytest.mark.parametrize("last", [None, "layer4"])
def test_a_partial_file_says_what_it_lacks(partial: Path, last: str | None) -> None:
    with pytest.raises(ValueError, match=r"partial\.pth lacks 25 of the 100 tensors .*: layer4\. .*fresh=\['layer4'\]"):
        TorchvisionEncoder("resnet18", partial, last_layer=last)


@pytest.mark.parametrize("file", ["partial", "whole"])
def test_a_fresh_layer_starts_at_random(resnet: models.ResNet, file: str, request: pytest.FixtureRequest) -> None:
    encoder = TorchvisionEncoder("resnet18", request.getfixturevalue(file), fresh=["layer4"])
    fresh, loaded = encoder.trunk.state_dict(), resnet.state_dict()
    assert torch.equal(fresh["layer3.1.conv2.weight"], loaded["layer3.1.conv2.weight"])
    assert not torch.equal(fresh["layer4.0.conv1.weight"], loaded["layer4.0.conv1.weight"])
    assert (fresh["layer4.0.bn1.running_var"] == 1).all()


def test_a_file_may_be_a_checkpoint(whole: Path, tmp_path: Path) -> None:
    state = torch.load(whole, weights_only=True)
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "epoch_3.pth")
    encoder = TorchvisionEncoder("resnet18", str(tmp_path / "epoch_3.pth"), last_layer="layer1")
    assert torch.equal(encoder.trunk.state_dict()["conv1.weight"], state["conv1.weight"])


def test_weights_of_another_model(whole: Path) -> None:
    with pytest.raises(ValueError, match=r"lacks 140 of the 215 tensors of resnet50 .*: layer1, layer2, layer3"):
        TorchvisionEncoder("resnet50", whole, last_layer="layer3")


def test_weights_of_another_shape(whole: Path, tmp_path: Path) -> None:
    state = torch.load(whole, weights_only=True)
    state["conv1.weight"] = state["conv1.weight"][:32]
    torch.save(state, tmp_path / "narrow.pth")
    with pytest.raises(ValueError, match=r"narrow\.pth is not of resnet18: conv1\.weight \(32, 3, 7, 7\) differ in shape"):
        TorchvisionEncoder("resnet18", tmp_path / "narrow.pth", last_layer="layer1")


@pytest.mark.parametrize(("content", "message"), [(b"", "no file of weights"), (b"not a pickle", "no file of weights")])
def test_a_file_that_holds_no_weights(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.pth is {message}"):
        TorchvisionEncoder("resnet18", tmp_path / "bad.pth")


@pytest.mark.parametrize("held", [[torch.zeros(2)], {"epoch": 3}])
def test_a_file_that_holds_something_else(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth holds no state dict, but (list|dict)"):
        TorchvisionEncoder("resnet18", tmp_path / "other.pth")


@pytest.mark.parametrize("weights", ["no/such/file.pth", "IMAGENET1K_V7"])
def test_weights_that_are_nowhere(weights: str) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"neither a file nor one of torchvision's for resnet18 \(IMAGENET1K_V1, DEFAULT\)"
    ):
        TorchvisionEncoder("resnet18", weights)


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str, **_: object) -> nn.Module:
        raise URLError("no route to host")

    monkeypatch.setattr(pretrained.models, "get_model", unreachable)
    with pytest.raises(
        FileNotFoundError, match=r"weights DEFAULT of resnet18 are not there: .*no route.* weights=FILE\.pth"
    ):
        TorchvisionEncoder("resnet18", "DEFAULT")


def test_the_imagenet_weights_up_to_layer3(repmet_data: Path) -> None:
    path = repmet_data / "resnet18_imagenet_to_layer3.pth"
    encoder = TorchvisionEncoder("resnet18", path, last_layer="layer3", frozen=True)
    assert encoder.out_channels == 256
    photographs = torch.rand(2, 3, 64, 64)
    assert encoder(photographs).isfinite().all() and encoder(photographs).std() > 0
    with pytest.raises(ValueError, match="layer4"):
        TorchvisionEncoder("resnet18", path)


# --- training --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last_layer", [None, "layer1"])
def test_frozen_outlasts_train_mode(last_layer: str | None) -> None:
    encoder = TorchvisionEncoder("resnet18", last_layer=last_layer, frozen=True)
    model = nn.Sequential(encoder, nn.Linear(encoder.out_channels, 2))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model.train()
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(p.grad is None for p in encoder.parameters())


def test_frozen_statistics_train_everything_else() -> None:
    encoder = TorchvisionEncoder("resnet18", last_layer="layer1", frozen_statistics=True).train()
    encoder(torch.randn(2, 3, 32, 32)).sum().backward()
    assert (encoder.state_dict()["trunk.bn1.running_mean"] == 0).all()
    assert all(p.grad is not None for p in encoder.parameters())


@torch.no_grad()
def test_inception_converts_imagenets_normalisation_once(tmp_path: Path) -> None:
    """Inception was trained on (x - 0.5) / 0.5; we hand it what every other encoder gets."""
    reference = models.inception_v3(aux_logits=False, transform_input=False, init_weights=False)
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    reference(torch.randn(4, 3, 80, 80))  # else features fade away over so many layers
    torch.save(reference.state_dict(), tmp_path / "inception.pth")
    reference.eval().double()  # in float32 rounding grows over so many layers
    seen = []
    reference.avgpool.register_forward_hook(lambda _, __, output: seen.append(output.flatten(1)))
    images = torch.rand(2, 3, 80, 80, dtype=torch.float64)
    reference((images - 0.5) / 0.5)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=torch.float64)
    encoder = Inception(tmp_path / "inception.pth", frozen=True).double()
    assert encoder.out_channels == 2048
    features = encoder((images - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(features, seen[0])
    assert features.std() > 1e-3, "features that are all alike would prove nothing"


@torch.no_grad()
def test_train_mode_has_neither_auxiliary_outputs_nor_dropout() -> None:
    encoder = TorchvisionEncoder("googlenet", last_layer="inception5b", frozen_statistics=True).train()
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(encoder(images), encoder(images)) and encoder.out_channels == 1024
    assert not any("aux" in name for name in encoder.state_dict())


# --- errors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet81", {}, r"no classifier 'resnet81'; did you mean 'resnet\d+'"),
        ("fasterrcnn_resnet50_fpn", {}, "no classifier 'fasterrcnn_resnet50_fpn'"),
        (
            "resnet18",
            {"last_layer": "layer5"},
            r"resnet18 has no layer 'layer5'; its outermost ones are conv1, .*, layer4, avgpool",
        ),
        ("resnet18", {"pooled": 0}, "at least 1, not 0"),
        ("resnet18", {"fresh": ["layer4"]}, "there is no file: weights=None"),
    ],
)
def test_bad_arguments(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchvisionEncoder(name, **arguments)


def test_a_fresh_layer_that_is_not_there(whole: Path) -> None:
    with pytest.raises(ValueError, match="fresh names 'layer4', which is no layer of resnet18 as far as it is used"):
        TorchvisionEncoder("resnet18", whole, last_layer="layer3", fresh=["layer4"])


def test_a_layer_that_gives_no_maps() -> None:
    encoder = TorchvisionEncoder("resnet18", last_layer="layer1")
    encoder.trunk = nn.Flatten(2)
    with pytest.raises(ValueError, match=r"must give maps .* not \(2, 3, 1024\)"):
        encoder(torch.zeros(2, 3, 32, 32))
