"""The cache of decoded tensors: an atomic file that other data never meet."""

from pathlib import Path

import pytest
import torch

from repmet.data.files import tensor_cache
from repmet.data.files.tensor_cache import cached


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache")
    path = tmp_path / "root" / "archive.zip"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    return path


def test_a_value_is_made_once(source):
    made = []

    def make():
        made.append(1)
        return {"images": torch.arange(5), "names": ["a", "b"]}

    for _ in range(3):
        value = cached("set", [source], make)
        assert value["images"].tolist() == list(range(5)) and value["names"] == ["a", "b"]
    assert len(made) == 1
    (file,) = source.parent.glob("*.pt")
    assert file.stat().st_mode == source.stat().st_mode  # who may read the data may read the cache
    cached("other", [source], make)
    assert len(made) == 2
    source.write_bytes(b"abcd")
    cached("set", [source], make)
    assert len(made) == 3


def test_a_cache_with_a_flipped_bit_is_made_anew(source):
    images = torch.arange(1000)
    cached("set", [source], lambda: {"images": images})
    (file,) = source.parent.glob("*.pt")
    whole = file.read_bytes()
    start = whole.index(images.numpy().tobytes())
    file.write_bytes(whole[: start + 80] + b"\x77" + whole[start + 81 :])
    with pytest.warns(UserWarning, match="cannot be read"):
        value = cached("set", [source], lambda: {"images": images + 1})
    assert torch.equal(value["images"], images + 1)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_cache_is_run(source, tmp_path):
    cached("set", [source], lambda: [1])
    (file,) = source.parent.glob("*.pt")
    torch.save({"images": Payload(tmp_path / "executed")}, file)
    with pytest.warns(UserWarning, match="cannot be read"):
        assert cached("set", [source], lambda: [2]) == [2]
    assert not (tmp_path / "executed").exists()


def test_a_broken_write_leaves_nothing(source, monkeypatch):
    def full(value, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensor_cache.torch, "save", full)
    with pytest.warns(UserWarning, match="set is decoded again each time"):
        assert cached("set", [source], lambda: 7) == 7
    assert [p.name for p in source.parent.iterdir()] == ["archive.zip"]
    assert not list((source.parent.parent / "cache").iterdir())
