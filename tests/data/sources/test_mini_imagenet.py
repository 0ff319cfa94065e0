"""mini-ImageNet's folder with its lists."""

import pytest

from repmet.data.sources import mini_imagenet


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(mini_imagenet, "SIZES", {"train": (6, 3), "val": (2, 1), "test": (4, 2)})
    (tmp_path / "images").mkdir()
    for split, classes in {"train": "cab", "val": "d", "test": "fe"}.items():
        rows = [f"n{name}_{i}.jpg,n{name}" for i in range(2) for name in classes]
        (tmp_path / f"{split}.csv").write_text("filename,label\n" + "\n".join(rows) + "\n")
        for row in rows:
            (tmp_path / "images" / row.partition(",")[0]).touch()
    return tmp_path


def test_lists_are_read(folder):
    train = mini_imagenet.read(folder, "train")
    assert train.classes == ("na", "nb", "nc") and train.labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert [p.name for p in train.paths][:2] == ["nc_0.jpg", "na_0.jpg"] and train.paths[0].is_file()
    assert mini_imagenet.read(folder, "test").classes == ("ne", "nf")


def test_what_is_not_whole(folder):
    with pytest.raises(ValueError, match="mini-ImageNet has no split 'trainval'"):
        mini_imagenet.read(folder, "trainval")
    (folder / "images" / "nb_1.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of the 6 images of mini-ImageNet train are missing, the first nb_1\.jpg"):
        mini_imagenet.read(folder, "train")
    (folder / "val.csv").write_text("filename,label\nnd_0.jpg,nd\n")
    with pytest.raises(ValueError, match="mini-ImageNet val has 1 images of 1 classes, not 2 of 1"):
        mini_imagenet.read(folder, "val")
    (folder / "val.csv").write_text("nd_0.jpg,nd\n")
    with pytest.raises(ValueError, match=r"val\.csv: its first line has to name the columns filename and label"):
        mini_imagenet.read(folder, "val")
    (folder / "val.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"val\.csv is not there; mini-ImageNet is a folder with images/"):
        mini_imagenet.read(folder, "val")
