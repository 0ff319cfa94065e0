"""MNIST, Flowers-102 and Oxford-IIIT Pet, fetched by torchvision from a local server that has small ones."""

import gzip
import hashlib
import io
import struct
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from repmet.data.sources import flowers102, mnist, pets


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 10), (200, 30, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def mat_of(**values) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, values)
    return buffer.getvalue()


def idx_of(values: np.ndarray) -> bytes:
    """The format of MNIST's files: two zeros, type 8 (uint8), number of dimensions, dimensions, values."""
    head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(head + values.astype(np.uint8).tobytes())


@pytest.fixture
def small_mnist(server, monkeypatch):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, each in (("train", 6), ("t10k", 2)):
        arrays[part] = rng.integers(0, 256, (10 * each, 28, 28)), rng.permutation(np.repeat(np.arange(10), each))
        server.files[f"/{part}-images-idx3-ubyte.gz"] = idx_of(arrays[part][0])
        server.files[f"/{part}-labels-idx1-ubyte.gz"] = idx_of(arrays[part][1])
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url("")])
    sums = [(name, md5(server.files[f"/{name}"])) for name, _ in datasets.MNIST.resources]
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    monkeypatch.setattr(mnist, "SIZES", {"trainval": (60, 10), "test": (20, 10)})
    return arrays


def test_mnist(small_mnist, tmp_path, server):
    whole = mnist.read(tmp_path, "trainval")
    images, labels = small_mnist["train"]
    assert torch.equal(whole.images[:, 0], torch.from_numpy(images).to(torch.uint8))
    assert whole.labels.tolist() == labels.tolist() and whole.classes == tuple("0123456789")
    asked = len(server.asked)
    train, val = (mnist.read(tmp_path, split, val_per_class=2) for split in ("train", "val"))
    assert train.counts.tolist() == [4] * 10 and val.counts.tolist() == [2] * 10
    together = torch.cat([train.images, val.images]).flatten(1)
    assert len(together.unique(dim=0)) == 60  # disjoint
    test = mnist.read(tmp_path, "test")
    assert torch.equal(test.images[:, 0], torch.from_numpy(small_mnist["t10k"][0]).to(torch.uint8))
    assert len(server.asked) == asked  # nothing is fetched twice
    with pytest.raises(ValueError, match="MNIST has no split 'all'"):
        mnist.read(tmp_path, "all")


def test_published_sizes_are_asserted(small_mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "SIZES", {"trainval": (60_000, 10)})
    with pytest.raises(ValueError, match="MNIST trainval has 60 images of 10 classes, not 60000 of 10"):
        mnist.read(tmp_path, "train")


def test_a_wrong_checksum(small_mnist, tmp_path, server):
    server.files["/train-images-idx3-ubyte.gz"] += b"x"
    with pytest.raises(ConnectionError, match=r"MNIST could not be laid out under .*corrupted.*delete what has come"):
        mnist.read(tmp_path, "train")


def test_no_server(small_mnist, tmp_path, server):
    server.files.clear()
    with pytest.raises(ConnectionError, match=r"MNIST could not be laid out under .*404"):
        mnist.read(tmp_path, "train")


@pytest.fixture
def small_flowers(server, monkeypatch):
    """Two images a split of each of 102 flowers; image i is of flower i % 102."""
    ids = np.arange(1, 6 * 102 + 1)
    content = {
        "/102flowers.tgz": tar_of({f"jpg/image_{i:05d}.jpg": picture() for i in ids}),
        "/imagelabels.mat": mat_of(labels=(ids % 102 + 1)[None]),
        "/setid.mat": mat_of(trnid=ids[None, :204], valid=ids[None, 204:408], tstid=ids[None, 408:]),
    }
    server.files |= content
    monkeypatch.setattr(datasets.Flowers102, "_download_url_prefix", server.url(""))
    sums = {key: (name, md5(content[f"/{name}"])) for key, (name, _) in datasets.Flowers102._file_dict.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", sums)
    monkeypatch.setattr(flowers102, "SIZES", dict.fromkeys(("train", "val", "test"), (204, 102)))


def test_flowers(small_flowers, tmp_path, server):
    train = flowers102.read(tmp_path, "train")
    asked = len(server.asked)
    assert train.counts.tolist() == [2] * 102
    assert train.classes == tuple(sorted(datasets.Flowers102.classes))
    for label, path in zip(train.labels.tolist(), train.paths, strict=True):
        number = int(path.stem.rpartition("_")[2])
        assert train.classes[label] == datasets.Flowers102.classes[number % 102] and path.is_file()
    both = flowers102.read(tmp_path, "trainval")
    assert set(both.paths) == set(train.paths) | set(flowers102.read(tmp_path, "val").paths) and len(both) == 408
    assert not set(both.paths) & set(flowers102.read(tmp_path, "test").paths)
    assert both.classes == train.classes and len(server.asked) == asked


def test_an_unpacking_that_broke_off(small_flowers, tmp_path):
    flowers102.read(tmp_path, "train")
    (tmp_path / "flowers-102" / "jpg" / "image_00007.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"1 of the 204 images of Flowers-102 train are missing, the first image_00007\.jpg"
    ):
        flowers102.read(tmp_path, "train")


@pytest.fixture
def small_pets(server, monkeypatch):
    """Three breeds; 5, 6 and 7 images to train, 2 each to test."""
    breeds = ("yorkshire_terrier", "Abyssinian", "american_bulldog")
    lists, images = {}, {}
    for part, each in (("trainval", (5, 6, 7)), ("test", (2, 2, 2))):
        names = [(f"{b}_{part}{i}", k) for k, b in enumerate(breeds, 1) for i in range(each[k - 1])]
        lists[f"annotations/{part}.txt"] = "".join(f"{name} {k} 1 1\n" for name, k in names).encode()
        images |= {f"images/{name}.jpg": picture() for name, _ in names}
    content = {"/images.tar.gz": tar_of(images), "/annotations.tar.gz": tar_of(lists)}
    server.files |= content
    sums = tuple((server.url(name[1:]), md5(packed)) for name, packed in content.items())
    monkeypatch.setattr(datasets.OxfordIIITPet, "_RESOURCES", sums)
    monkeypatch.setattr(pets, "SIZES", {"trainval": (18, 3), "test": (6, 3)})


def test_pets(small_pets, tmp_path, server):
    whole = pets.read(tmp_path, "trainval")
    asked = len(server.asked)
    breeds = tuple(sorted({" ".join(part.title() for part in p.stem.rpartition("_")[0].split("_")) for p in whole.paths}))
    assert whole.classes == breeds and whole.counts.sum() == 18 and all(p.is_file() for p in whole.paths)
    train, val = (pets.read(tmp_path, split, val_per_class=2) for split in ("train", "val"))
    assert val.counts.tolist() == [2, 2, 2] and set(train.paths) | set(val.paths) == set(whole.paths)
    assert not set(train.paths) & set(val.paths)
    assert set(pets.read(tmp_path, "val", val_per_class=2, seed=1).paths) != set(val.paths)
    test = pets.read(tmp_path, "test")
    assert test.classes == whole.classes and len(test) == 6 and not set(test.paths) & set(whole.paths)
    assert len(server.asked) == asked
    with pytest.raises(ValueError, match="class 'Abyssinian' has 6 images; 20 are wanted"):
        pets.read(tmp_path, "val")


def test_the_sizes_that_are_published():
    assert mnist.SIZES == {"trainval": (60_000, 10), "test": (10_000, 10)}
    assert flowers102.SIZES == {"train": (1020, 102), "val": (1020, 102), "test": (6149, 102)}
    assert sum(n for n, _ in flowers102.SIZES.values()) == 8189
    assert pets.SIZES == {"trainval": (3680, 37), "test": (3669, 37)}
