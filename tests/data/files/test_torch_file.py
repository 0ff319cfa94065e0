"""Torch's files without torch: what it writes is read, what is written it reads, and nothing else is let in."""

import os
from collections import OrderedDict

import numpy as np
import pytest
import torch

from repmet.data.files import torch_file
from repmet.data.files.torch_file import STORAGES, check_replaceable, read_torch_file, write_torch_file
from repmet.errors import UserError


def same(a, b) -> None:
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", STORAGES.values())
def test_tensors_there_and_back(kind, tmp_path) -> None:
    arrays = [np.arange(12).reshape(3, 4).astype(kind), np.array(7).astype(kind), np.zeros((0, 5), kind)]
    torch.save({"a": [torch.from_numpy(a.copy()) for a in arrays]}, tmp_path / "theirs.pth")
    for ours, array in zip(read_torch_file(tmp_path / "theirs.pth")["a"], arrays, strict=True):
        same(ours, array)
    write_torch_file({"a": arrays}, tmp_path / "ours.pth")
    for tensor, array in zip(torch.load(tmp_path / "ours.pth", weights_only=True)["a"], arrays, strict=True):
        same(tensor.numpy(), array)


def test_views_share_a_storage_and_are_read_apart(tmp_path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    torch.save([whole[1:3, ::2], whole.T, whole], tmp_path / "views.pth")
    for ours, view in zip(read_torch_file(tmp_path / "views.pth"), (whole[1:3, ::2], whole.T, whole), strict=True):
        same(ours, view.numpy())


def test_plain_values_are_kept(tmp_path) -> None:
    content = {
        "name": "chaise longue é",
        "n": 3,
        "x": 0.5,
        "none": None,
        "yes": True,
        "t": ("a", 1),
        "o": OrderedDict(k=[1, 2]),
    }
    torch.save(content, tmp_path / "theirs.pth")
    assert read_torch_file(tmp_path / "theirs.pth") == content
    write_torch_file(content, tmp_path / "ours.pth")
    assert torch.load(tmp_path / "ours.pth", weights_only=True) == content


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_what_is_no_such_file_is_refused(tmp_path, capsys) -> None:
    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "text.pth").write_text("no zip")
    whole = tmp_path / "whole.pth"
    torch.save([torch.zeros(1000)], whole)
    (tmp_path / "cut.pth").write_bytes(whole.read_bytes()[:2000])
    for name in ("evil", "text", "cut"):
        with pytest.raises(UserError, match=rf"{name}\.pth: damaged"):
            read_torch_file(tmp_path / f"{name}.pth")
    assert "run" not in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_torch_file(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("offset", "shape", "strides"), [(1, (2, 2), (2, 1)), (0, (5,), (1,)), (-1, (2,), (1,)), (3, (2,), (-1,)), (4, (), ())]
)
def test_a_tensor_beyond_its_storage_is_refused(offset, shape, strides) -> None:
    """Such a view would read memory that is not the file's."""
    with pytest.raises(ValueError, match="larger than its storage"):
        torch_file._rebuilt(torch_file._Storage(np.zeros(4, np.float32)), offset, shape, strides)


def test_only_files_of_this_kind_are_replaced(tmp_path) -> None:
    formats = ("classes-1", "classes-2")
    check_replaceable(tmp_path / "new/classes.pth", formats)
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty.pth").touch()
    torch.save({"format": "classes-1", "weights": {"a": torch.ones(3)}}, tmp_path / "by_torch.pth")
    write_torch_file({"format": "classes-2", "b": np.ones(2, np.float32)}, tmp_path / "without.pth")
    for name in ("empty.pth", "by_torch.pth", "without.pth"):
        check_replaceable(tmp_path / name, formats)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 a photograph")
    torch.save({"state_dict": {"a": torch.ones(3)}, "meta": {"format": "classes-1"}}, tmp_path / "checkpoint.pth")
    torch.save({"format": "classes-3"}, tmp_path / "other.pth")
    torch.save({"format": "classes-1", "path": tmp_path}, tmp_path / "objects.pth")
    torch.save(["format"], tmp_path / "list.pth")
    torch.save({"format": ["classes-1"]}, tmp_path / "odd.pth")
    for name in ("photo.jpg", "checkpoint.pth", "other.pth", "objects.pth", "list.pth", "odd.pth"):
        with pytest.raises(UserError, match=f"{name}: is there, and is no file of learnt classes"):
            check_replaceable(tmp_path / name, formats)
    with pytest.raises(IsADirectoryError):
        check_replaceable(tmp_path, formats)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a device or a pipe"):
        check_replaceable(tmp_path / "pipe", formats)
    with pytest.raises(OSError, match="is a device or a pipe"):
        write_torch_file({}, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
