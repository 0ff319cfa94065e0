"""Folders of class folders: what is found, every way to split, and what is refused."""

import pytest

from repmet.data.readers.image_folder import read

CLASSES = {"tulip": 8, "daisy": 9, "rose": 8, "aster": 8}


@pytest.fixture
def folder(tmp_path):
    for name, number in CLASSES.items():
        (tmp_path / name).mkdir()
        for i in range(number):
            (tmp_path / name / f"{i}.{'JPG' if i % 2 else 'png'}").touch()
        (tmp_path / name / "Thumbs.db").touch()
        (tmp_path / name / "._1.jpg").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "readme.txt").touch()
    return tmp_path


def files(images) -> set[str]:
    return {f"{p.parent.name}/{p.name}" for p in images.paths}


def test_the_whole_folder(folder):
    images = read(folder)
    assert images.classes == ("aster", "daisy", "rose", "tulip") and images.counts.tolist() == [8, 9, 8, 8]
    assert all(images.classes[label] == p.parent.name for label, p in zip(images.labels.tolist(), images.paths, strict=True))
    assert files(read(folder, "all", images_per_class={"train": 3})) == files(images)


def test_a_split_within_each_class(folder):
    def part(split, val=2, seed=0, train=5):
        return read(folder, split, images_per_class={"train": train, "test": 3}, val_per_class=val, seed=seed)

    parts = {split: files(part(split)) for split in ("train", "val", "trainval", "test")}
    assert part("train").counts.tolist() == [3] * 4 and part("val").counts.tolist() == [2] * 4
    assert part("test").counts.tolist() == [3] * 4
    assert parts["train"] | parts["val"] == parts["trainval"] and not parts["train"] & parts["val"]
    assert not parts["test"] & parts["trainval"]
    assert files(part("test", val=0, train=4)) == parts["test"] != files(part("test", seed=1))
    assert files(part("train", val=0)) == parts["trainval"]
    with pytest.raises(ValueError, match="no split 'val'; there are: test, train, all"):
        part("val", val=0)


def test_class_from_class_by_seed(folder):
    parts = {
        s: read(folder, s, classes_per_split={"train": 2, "val": 1, "test": 1}) for s in ("train", "val", "trainval", "test")
    }
    assert [len(parts[s].classes) for s in ("train", "val", "trainval", "test")] == [2, 1, 3, 1]
    assert sorted(c for s in ("train", "val", "test") for c in parts[s].classes) == sorted(CLASSES)
    for images in parts.values():
        assert images.counts.tolist() == [CLASSES[name] for name in images.classes]
        assert {p.parent.name for p in images.paths} == set(images.classes)
    assert read(folder, "test", classes_per_split={"train": 1, "test": 1}).classes == parts["test"].classes
    drawn = {read(folder, "test", classes_per_split={"test": 1}, seed=seed).classes for seed in range(20)}
    assert len(drawn) == 4


def test_class_from_class_by_name(folder):
    novel = {"train": 2, "test": ["rose", "aster"]}
    assert read(folder, "test", classes_per_split=novel).classes == ("aster", "rose")
    assert read(folder, "train", classes_per_split=novel).classes == ("daisy", "tulip")


@pytest.mark.parametrize(
    ("split", "arguments", "message"),
    [
        ("train", {}, "split 'train' needs images_per_class, classes_per_split or split_file"),
        (
            "train",
            {"images_per_class": {"train": 6, "test": 3}},
            r"class 'aster' has 8 images; 9 are wanted \(test 3, train 6\)",
        ),
        ("train", {"images_per_class": {"trian": 6}}, "images_per_class takes train and test, not trian"),
        (
            "train",
            {"images_per_class": {"train": 4}, "val_per_class": 4},
            "val_per_class=4 of 4 training images a class leaves",
        ),
        ("tset", {"images_per_class": {"train": 4, "test": 2}}, "no split 'tset'; there are: test, train, all"),
        ("train", {"classes_per_split": {"train": 4, "test": 1}}, "has 4 classes to draw from; classes_per_split wants 5"),
        ("train", {"classes_per_split": {"train": ["lily"]}}, "no class 'lily'"),
        ("train", {"classes_per_split": {"train": ["rose"], "val": ["rose"]}}, "named twice: rose, rose"),
        ("train", {"classes_per_split": {"base": 1}}, "classes_per_split takes train, val and test, not base"),
        ("train", {"images_per_class": {"train": 1}, "classes_per_split": {"train": 1}}, "by one of them"),
    ],
)
def test_a_split_that_cannot_be(folder, split, arguments, message):
    with pytest.raises(ValueError, match=message):
        read(folder, split, **arguments)


def test_folders_without_images(folder, tmp_path):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: the class folder holds no image \(\.jpg"):
        read(folder)
    with pytest.raises(ValueError, match="holds no class folders"):
        read(folder / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        read(folder / "nowhere")


@pytest.mark.parametrize(("name", "classes", "images"), [("flowers17", 17, 20), ("caltech101", 101, 15)])
def test_real_folders(repmet_data, name, classes, images):
    whole = read(repmet_data / name)
    assert len(whole.classes) == classes and whole.counts.unique().tolist() == [images]


def test_a_list_of_splits(tmp_path):
    for name in ("b/1.png", "b/2.png", "a/1.png", "a/2.png", "a/3.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = ["image,class,split", "1.png,a,test", "2.png,a,train", "1.png,b,train", "2.png,b,test"]
    file = tmp_path / "split.csv"
    file.write_text("\n".join(rows) + "\n")
    train, test = (read(tmp_path / "images", part, split_file="../split.csv") for part in ("train", "test"))
    assert [f"{path.parent.name}/{path.name}" for path in train.paths] == ["a/2.png", "b/1.png"]
    assert [f"{path.parent.name}/{path.name}" for path in test.paths] == ["a/1.png", "b/2.png"]
    assert train.classes == ("a", "b") and train.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="has no split 'val'; there are: test, train"):
        read(tmp_path / "images", "val", split_file=str(file))
    with pytest.raises(ValueError, match="by one of them"):
        read(tmp_path / "images", "test", split_file=str(file), images_per_class={"train": 1})
    for line, message in (
        ("1.png,b,train", "names b/1.png, which is not there, or there twice"),
        ("9.png,a,val", "a/9.png"),
    ):
        file.write_text("\n".join([*rows, line]) + "\n")
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "images", "test", split_file=str(file))
    file.write_text("image,split\n1.png,test\n")
    with pytest.raises(ValueError, match="its first line has to name the columns image, class and split"):
        read(tmp_path / "images", "test", split_file=str(file))
    file.unlink()
    with pytest.raises(FileNotFoundError, match="no such list of splits"):
        read(tmp_path / "images", "test", split_file=str(file))
