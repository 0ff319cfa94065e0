"""Stanford Dogs through our own downloader, from a local server that has a small one."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from repmet.data.sources import dogs

BREEDS = ("n02-Whippet", "n01-Basset")


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def list_of(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    column = np.empty((len(names), 1), object)
    column[:, 0] = names
    savemat(buffer, {"file_list": column, "labels": np.ones((len(names), 1))})
    return buffer.getvalue()


@pytest.fixture
def small(server, monkeypatch):
    train = [f"{breed}/{i}.jpg" for breed in BREEDS for i in range(5)]
    test = [f"{breed}/{i}.jpg" for breed in BREEDS for i in range(5, 8)]
    server.files["/lists.tar"] = tar_of(
        {"file_list.mat": b"", "train_list.mat": list_of(train), "test_list.mat": list_of(test)}
    )
    server.files["/images.tar"] = tar_of({f"Images/{name}": name.encode() * 100 for name in train + test})
    monkeypatch.setattr(dogs, "ADDRESS", server.url("{name}"))
    sums = {n: (hashlib.sha256(server.files[f"/{n}"]).hexdigest(), len(server.files[f"/{n}"])) for n in dogs.ARCHIVES}
    monkeypatch.setattr(dogs, "ARCHIVES", sums)
    monkeypatch.setattr(dogs, "SIZES", {"trainval": (10, 2), "test": (6, 2)})
    monkeypatch.setattr(dogs.fetch, "__kwdefaults__", dogs.fetch.__kwdefaults__ | {"pause": 0.01})


def test_dogs_are_fetched_once_and_split(small, server, tmp_path):
    whole = dogs.read(tmp_path, "trainval")
    assert whole.classes == ("n01-Basset", "n02-Whippet") and whole.counts.tolist() == [5, 5]
    assert all(p.is_file() and p.parent.name == whole.classes[k] for p, k in zip(whole.paths, whole.labels, strict=True))
    assert sorted(p.name for p in (tmp_path / "stanford-dogs").iterdir()) == ["Images", "test_list.mat", "train_list.mat"]
    train, val = (dogs.read(tmp_path, split, val_per_class=2) for split in ("train", "val"))
    assert val.counts.tolist() == [2, 2] and set(train.paths) | set(val.paths) == set(whole.paths)
    assert not set(train.paths) & set(val.paths)
    test = dogs.read(tmp_path, "test")
    assert test.counts.tolist() == [3, 3] and not set(test.paths) & set(whole.paths)
    assert len(server.asked) == 2


def test_a_broken_transfer_is_resumed(small, server, tmp_path):
    server.drop_after = [100_000, 1000, 500]
    assert len(dogs.read(tmp_path, "test")) == 6
    assert server.asked == [None, None, "bytes=1000-", "bytes=1500-"]


def test_an_unpacking_that_broke_off_is_done_again(small, server, tmp_path):
    folder = tmp_path / "stanford-dogs"
    (folder / "images.tar.unpacking" / "Images" / BREEDS[0]).mkdir(parents=True)
    (folder / "images.tar.unpacking" / "Images" / BREEDS[0] / "0.jpg").write_bytes(b"half")
    (folder / "images.tar").write_bytes(server.files["/images.tar"])  # was fetched before
    images = dogs.read(tmp_path, "trainval")
    assert all(p.read_bytes() == f"{p.parent.name}/{p.name}".encode() * 100 for p in images.paths)
    assert len(server.asked) == 1 and not (folder / "images.tar.unpacking").exists()


def test_a_wrong_checksum_and_missing_files(small, server, tmp_path, monkeypatch):
    dogs.read(tmp_path, "test")
    (tmp_path / "stanford-dogs" / "Images" / BREEDS[0] / "6.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of the 6 images of Stanford Dogs test are missing, the first 6\.jpg"):
        dogs.read(tmp_path, "test")
    monkeypatch.setattr(dogs, "SIZES", {"trainval": (12_000, 120)})
    with pytest.raises(ValueError, match="Stanford Dogs trainval has 10 images of 2 classes, not 12000 of 120"):
        dogs.read(tmp_path, "train")
    server.files["/lists.tar"] = server.files["/lists.tar"][:-1] + b"x"
    with pytest.raises(ValueError, match=r"could not fetch lists\.tar:\n.*sha256"):
        dogs.read(tmp_path / "other", "train")


def test_an_archive_that_would_write_elsewhere(small, server, tmp_path, monkeypatch):
    server.files["/lists.tar"] = content = tar_of({"../train_list.mat": b"x"})
    sums = dogs.ARCHIVES | {"lists.tar": (hashlib.sha256(content).hexdigest(), len(content))}
    monkeypatch.setattr(dogs, "ARCHIVES", sums)
    with pytest.raises(ValueError, match="would land outside the folder"):
        dogs.read(tmp_path, "train")
    assert not list(tmp_path.rglob("*.mat"))


def test_the_sizes_that_are_published():
    assert dogs.SIZES == {"trainval": (12_000, 120), "test": (8_580, 120)}
    assert sum(n for n, _ in dogs.SIZES.values()) == 20_580
