"""Maps on disk: found again bit for bit, never stale, never more than the limit."""

import warnings

import pytest
import torch
from torch import nn

from repmet.data.files import tensor_cache
from repmet.detection.embedding.kept_maps import KeptMaps, View


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"an image")
    return path


def backbone(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 2, 1).requires_grad_(False)


def maps() -> list[torch.Tensor]:
    return [torch.randn(2, 4, 6), torch.randn(3, 2, 3)]


def test_what_is_kept_is_found_in_half_precision(image):
    kept, levels = KeptMaps(backbone()), maps()
    assert kept.get(image, View(64)) is None
    assert kept.put(image, View(64), levels)
    again = KeptMaps(backbone()).get(image, View(64))
    assert all(torch.equal(a, b.half()) for a, b in zip(again, levels, strict=True))


def test_nothing_stale_is_found(image, tmp_path):
    KeptMaps(backbone(), "settings").put(image, View(64), maps())
    assert KeptMaps(backbone(), "settings").get(image, View(64)) is not None
    assert KeptMaps(backbone(1), "settings").get(image, View(64)) is None
    assert KeptMaps(backbone(), "others").get(image, View(64)) is None
    assert KeptMaps(backbone(), "settings").get(image, View(64, mirror=True)) is None
    assert KeptMaps(backbone(), "settings").get(image, View(96)) is None
    (tmp_path / "b.jpg").write_bytes(b"another image")
    assert KeptMaps(backbone(), "settings").get(tmp_path / "b.jpg", View(64)) is None


def test_the_limit_holds_and_is_said_once(image):
    size = sum(level.numel() * 2 for level in maps())
    kept = KeptMaps(backbone(), gigabytes=(2 * size + 3000) / 1e9)  # a file's own bytes count as well when found again
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept.put(image, View(32), maps()) and kept.put(image, View(64), maps())
    bound = KeptMaps(backbone(), gigabytes=(2 * size) / 1e9)
    with pytest.warns(UserWarning, match=r"GB are kept, the limit; .*Raise feature_cache.gigabytes"):
        assert not bound.put(image, View(96), maps())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not bound.put(image, View(128), maps())
    assert bound.get(image, View(96)) is None and bound.get(image, View(64)) is not None


@pytest.mark.parametrize("damage", [lambda whole: b"cut off", lambda whole: whole.replace(bytes(2), b"\xff\x00")])
def test_a_damaged_file_is_said_and_taken_away(image, damage):
    kept = KeptMaps(backbone())
    kept.put(image, View(64), maps())
    path = kept.path(image, View(64))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="cannot be read"):
        assert kept.get(image, View(64)) is None
    assert kept.put(image, View(64), maps()) and kept.get(image, View(64)) is not None


def test_a_trained_backbone_is_refused():
    with pytest.raises(ValueError, match="features: cached keeps the maps of a frozen backbone, and this one is trained"):
        KeptMaps(nn.Conv2d(3, 2, 1))
