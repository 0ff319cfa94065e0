"""CUB, Cars and Online Products in small: halves of the classes, validation by class and by sample, broken lists."""

import os
from pathlib import Path

import pytest

from repmet.data.sources import cars196, cub200, online_products
from repmet.data.sources.registry import read


def lay_out(folder: Path, classes: int = 10, each: int = 10) -> Path:
    for c in range(classes):
        of_class = folder / f"{c:03d}.bird"
        of_class.mkdir(parents=True)
        for i in range(each):
            (of_class / f"{i}.jpg").write_bytes(b"")
    return folder


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    lay_out(tmp_path / "birds")
    return tmp_path


def names(images) -> set[str]:
    return {f"{p.parent.name}/{p.name}" for p in images.paths}


@pytest.mark.parametrize("source", ("cub200", "cars196"))
def test_halves_have_no_class_in_common(birds, source):
    train, test = (read(source, birds, split, folder="birds") for split in ("trainval", "test"))
    assert train.classes == tuple(f"{c:03d}.bird" for c in range(5)) and test.classes[0] == "005.bird"
    assert len(train) == len(test) == 50 and train.labels.max() == 4
    assert names(read(source, birds, "train", folder="birds")) == names(train)


def test_validation_by_class_and_by_sample(birds):
    whole = names(cub200.read(birds, "trainval", folder="birds"))
    for by, classes in (("class", (3, 2)), ("sample", (5, 5))):
        options = {"folder": "birds", "val_share": 0.4, "val_by": by}
        train, val = (cub200.read(birds, split, **options) for split in ("train", "val"))
        assert (len(train.classes), len(val.classes)) == classes
        assert names(train) | names(val) == whole and not names(train) & names(val)
        assert len(val) == 20
        assert by == "class" or val.counts.tolist() == [4] * 5
        assert names(cub200.read(birds, "val", **options)) == names(val)
        assert names(cub200.read(birds, "val", seed=1, **options)) != names(val)


def test_a_whole_set_has_the_published_size(tmp_path):
    lay_out(tmp_path / "cub200" / "images", 3, 2)
    with pytest.raises(ValueError, match="CUB-200-2011 has 6 images of 3 classes, not 11788 of 200"):
        cub200.read(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="cars196"):
        cars196.read(tmp_path, "train")


def test_bad_shares(birds):
    for options, said in (
        ({"val_share": 0.01}, "of 5 classes leaves a part without any"),
        ({"val_share": 1.5}, "a fraction from 0 to 1, not 1.5"),
        ({"val_share": 0.01, "val_by": "sample"}, "of the 10 images of '000.bird' leaves a part without any"),
        ({"val_share": 0.3, "val_by": "image"}, "by class or by sample, not by 'image'"),
    ):
        with pytest.raises(ValueError, match=said):
            cub200.read(birds, "train", folder="birds", **options)
    with pytest.raises(ValueError, match="no split val without a val_share"):
        cub200.read(birds, "val", folder="birds")
    with pytest.raises(ValueError, match="no split 'tests'"):
        cub200.read(birds, "tests", folder="birds")


@pytest.fixture
def products(tmp_path: Path) -> Path:
    home = tmp_path / "online_products"
    (home / "Info_Files").mkdir(parents=True)
    number = 1
    for name, classes in (("train", range(1, 7)), ("test", range(7, 10))):
        lines = ["image_id class_id super_class_id path"]
        for c in classes:
            kind = ("bicycle", "chair")[c % 2]
            (home / "images" / f"{kind}_final").mkdir(parents=True, exist_ok=True)
            for i in range(3):
                (home / "images" / f"{kind}_final" / f"{c}_{i}.JPG").write_bytes(b"")
                lines.append(f"{number} {c} {c % 2 + 1} {kind}_final/{c}_{i}.JPG")
                number += 1
        (home / "Info_Files" / f"Ebay_{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_products_are_those_of_the_lists(products):
    train, test = (read("online_products", products, split) for split in ("trainval", "test"))
    assert train.classes[0] == "bicycle/00002" and len(train.classes) == 6 and len(train) == 18
    assert test.classes == ("bicycle/00008", "chair/00007", "chair/00009") and test.counts.tolist() == [3, 3, 3]
    assert all(p.name.startswith(f"{int(test.classes[y][-5:])}_") for p, y in zip(test.paths, test.labels, strict=True))
    val = online_products.read(products, "val", val_share=0.34)
    assert len(val.classes) == 2 and set(val.classes) < set(train.classes)


def test_broken_lists(products):
    path = products / "online_products" / "Info_Files" / "Ebay_test.txt"
    text = path.read_text()
    path.write_text(text + "99 7 chair_final/7_9.JPG\n")
    with pytest.raises(ValueError, match=r"Ebay_test\.txt, line 11: should be .image_id"):
        online_products.read(products, "test")
    path.write_text(text + "99 7 1 ../../other.JPG\n")
    with pytest.raises(ValueError, match="line 11"):
        online_products.read(products, "test")
    path.write_text(text + "99 7 1 chair_final/7_9.JPG\n")
    with pytest.raises(ValueError, match=r"1 of the 10 images .* are missing, the first 7_9\.JPG"):
        online_products.read(products, "test")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="Ebay_test"):
        online_products.read(products, "test")


@pytest.mark.skipif("REPMET_DATA" not in os.environ, reason="REPMET_DATA: the folder of real images is not given")
def test_real_subsets():
    root = os.environ["REPMET_DATA"]
    cars = [read("cars196", root, split, folder="cars196_crops", val_share=0.25) for split in ("train", "val", "test")]
    assert [len(part.classes) for part in cars] == [24, 8, 32] and [len(part) for part in cars] == [360, 120, 480]
    assert len(read("cub200", root, "test", folder="cub200_2010").classes) == 5
