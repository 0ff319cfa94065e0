"""CIFAR-100 in its two layouts, and CIFAR-FS: splits by count, the array that is kept, what is not whole."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from repmet.data.readers.trees import read_tree
from repmet.data.sources import cifar100, cifar_fs
from repmet.model_definitions.hierarchy import Hierarchy

NAMES = [name for split in ("train", "val", "test") for name in cifar_fs.classes_of(split)]
SMALL = {"trainval": (200, 100), "test": (100, 100)}


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two images a class to train and one to test, as class folders; image k of class c is `pixels(10 c + k)`."""
    root = tmp_path_factory.mktemp("cifar100")
    for c, name in enumerate(sorted(NAMES)):
        for part, numbers in (("train", (0, 1)), ("test", (2,))):
            (root / part / name).mkdir(parents=True)
            for k in numbers:
                Image.fromarray(pixels(10 * c + k)).save(root / part / name / f"x_s_{k:06d}.png")
    return root


@pytest.fixture
def folder(drawn, monkeypatch):
    monkeypatch.setattr(cifar100, "SIZES", SMALL)
    monkeypatch.setattr(cifar_fs, "SIZES", {"train": (192, 64), "val": (48, 16), "test": (60, 20)})
    return drawn


def test_class_folders(folder):
    whole = cifar100.read(folder, "trainval")
    assert whole.classes == tuple(sorted(NAMES)) and whole.counts.tolist() == [2] * 100
    assert np.array_equal(whole.images[3].permute(1, 2, 0).numpy(), pixels(11))
    train, val = (cifar100.read(folder, split, val_per_class=1) for split in ("train", "val"))
    assert train.counts.tolist() == val.counts.tolist() == [1] * 100
    assert len(torch.cat([train.images, val.images]).flatten(1).unique(dim=0)) == 200
    assert len(list(folder.glob("cifar100_trainval_*.pt"))) == 1


def test_the_array_is_read_and_not_decoded_again(folder, monkeypatch):
    first = cifar100.read(folder, "test")
    monkeypatch.setattr(cifar100, "decode_all", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(cifar100.read(folder, "test").images, first.images)


def test_the_layout_of_torchvision_gives_the_same_images(folder, tmp_path, monkeypatch):
    base = tmp_path / "cifar-100-python"
    base.mkdir()
    names = sorted(NAMES)
    content = {"data": np.stack([pixels(10 * c + 2).transpose(2, 0, 1).reshape(-1) for c in range(100)])}
    (base / "test").write_bytes(pickle.dumps(content | {"fine_labels": list(range(100))}))
    (base / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    monkeypatch.setattr(datasets.CIFAR100, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    ours, theirs = cifar100.read(folder, "test"), cifar100.read(tmp_path, "test")
    assert ours.classes == theirs.classes and torch.equal(ours.labels, theirs.labels)
    assert torch.equal(ours.images, theirs.images)


def test_a_set_that_is_not_whole(folder, tmp_path):
    (tmp_path / "train").mkdir()
    for name in sorted(NAMES):
        (tmp_path / "train" / name).symlink_to(folder / "train" / name)
    (tmp_path / "train" / "apple").unlink()
    (tmp_path / "train" / "apple").mkdir()
    Image.fromarray(pixels(0)).save(tmp_path / "train" / "apple" / "a.png")
    with pytest.raises(ValueError, match=r"CIFAR-100 trainval has 199 images of 100 classes, not 200 of 100"):
        cifar100.read(tmp_path, "trainval")
    for k in (1, 2):
        Image.fromarray(pixels(k)).save(tmp_path / "train" / "apple" / f"{k}.png")
    (tmp_path / "train" / "bus").unlink()
    (tmp_path / "train" / "bus").mkdir()
    Image.fromarray(pixels(0)).save(tmp_path / "train" / "bus" / "a.png")
    with pytest.raises(ValueError, match="class 'apple' has 3 images, not 2"):
        cifar100.read(tmp_path, "trainval")
    with pytest.raises(ValueError, match="CIFAR-100 has no split 'all'"):
        cifar100.read(tmp_path, "all")


def test_the_classes_of_cifar_fs_are_those_of_cifar_100():
    assert [len(cifar_fs.classes_of(split)) for split in ("train", "val", "test")] == [64, 16, 20]
    assert len(set(NAMES)) == 100
    assert sorted(NAMES) == sorted(Hierarchy(read_tree("cifar100").parents).classes)


def test_cifar_fs_has_training_and_test_images_of_its_classes(folder):
    parts = {split: cifar_fs.read(folder, split) for split in ("train", "val", "test")}
    for split, images in parts.items():
        assert list(images.classes) == sorted(cifar_fs.classes_of(split)) and set(images.counts.tolist()) == {3}
    c = sorted(NAMES).index(parts["val"].classes[0])
    of_first = {tuple(image.flatten().tolist()) for image in parts["val"].images[parts["val"].labels == 0]}
    assert of_first == {tuple(pixels(10 * c + k).transpose(2, 0, 1).flatten().tolist()) for k in range(3)}
    with pytest.raises(ValueError, match="CIFAR-FS has no split 'trainval'"):
        cifar_fs.read(folder, "trainval")
