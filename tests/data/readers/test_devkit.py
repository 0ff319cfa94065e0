"""The reader of VOC devkits: lists, ids, years and classes, and one message for all that is wrong."""

import shutil

import pytest
from PIL import Image

from repmet.data.readers.devkit import read_class_list, read_image_set
from tests.data.readers.devkits import thing, xml


def test_all_problems_in_one_message(devkit):
    names = [f"m{i:02d}" for i in range(13)]
    (devkit / "ImageSets/Main/train.txt").write_text("\n".join(["a", *names]))
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 10, 10, 90, 20)))
    with pytest.raises(ValueError, match="14 problem") as caught:
        read_image_set(devkit, "train")
    lines = str(caught.value).splitlines()
    assert len(lines) == 12 and "outside" in lines[1] and "m08" in lines[10] and lines[11].strip() == "... and 4 more"


def test_a_class_that_no_annotation_has(devkit):
    with pytest.raises(ValueError, match=r"class 'cats': no annotation has it; did you mean 'cat'"):
        read_image_set(devkit, "train", classes=["dog", "cats"])
    with pytest.raises(ValueError, match="class 'zebra': no annotation has it; there are: cat, dog"):
        read_image_set(devkit, "train", classes=["zebra"])


def test_unknown_sets_and_folders(devkit, tmp_path):
    (devkit / "ImageSets/Main/cat_train.txt").write_text("a  1\nb -1\n")
    with pytest.raises(FileNotFoundError, match=r"no image set 'trian'; there are: train$"):
        read_image_set(devkit, "trian")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_image_set(tmp_path / "nowhere", "train")
    with pytest.raises(FileNotFoundError, match="holds neither ImageSets/Main nor a VOCdevkit"):
        read_image_set(tmp_path, "train")
    with pytest.raises(ValueError, match="'a  1' is not one image id"):
        read_image_set(devkit, "cat_train")


@pytest.mark.parametrize(("lines", "message"), [("\n", "the list is empty"), ("a\nb\na\n", "more than once: a")])
def test_bad_lists(devkit, lines, message):
    (devkit / "ImageSets/Main/train.txt").write_text(lines)
    with pytest.raises(ValueError, match=message):
        read_image_set(devkit, "train")


def test_years_of_a_devkit(devkit, tmp_path):
    for year in ("2007", "2012"):
        shutil.copytree(devkit, tmp_path / "VOCdevkit" / f"VOC{year}")
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Main/train.txt").write_text("c")
    for root in (tmp_path, tmp_path / "VOCdevkit"):
        records = read_image_set(root, "2007_train+2012_train")
        assert [r.id for r in records] == ["VOC2007/b", "VOC2007/a", "VOC2007/c", "VOC2012/c"], "files apart, ids apart"
        assert "VOC2012" in str(records[-1].path)
        assert [r.id for r in read_image_set(root, "2012_train")] == ["VOC2012/c"], "whichever lists are read together"
    assert len(read_image_set(tmp_path / "VOCdevkit/VOC2012", "2012_train")) == 1
    with pytest.raises(FileNotFoundError, match=r"as in 2007_trainval; years there: 2007, 2012"):
        read_image_set(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="2009_train"):
        read_image_set(tmp_path, "2009_train")


def test_class_lists(tmp_path):
    (tmp_path / "mine.txt").write_text("cat\n\n dog \n")
    assert read_class_list(tmp_path / "mine.txt") == read_class_list("mine.txt", tmp_path) == ("cat", "dog")
    assert read_class_list(["b", "a"]) == ("b", "a")
    (tmp_path / "twice.txt").write_text("cat\ncat\n")
    (tmp_path / "empty.txt").write_text("\n")
    for source, error, message in [
        ("nowhere.txt", FileNotFoundError, "looked for"),
        ("twice.txt", ValueError, "named twice: cat"),
        ("empty.txt", ValueError, "the class list is empty"),
        (["no", False], ValueError, "False is no class name"),
    ]:
        with pytest.raises(error, match=message):
            read_class_list(source, tmp_path)


def test_exactly_ten_problems_are_all_shown(devkit):
    (devkit / "ImageSets/Main/train.txt").write_text("\n".join(["a", *(f"m{i:02d}" for i in range(10))]))
    with pytest.raises(ValueError, match="10 problems") as caught:
        read_image_set(devkit, "train")
    assert "m09" in str(caught.value) and "more" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_with_a_byte_order_mark(devkit, encoding, tmp_path):
    (devkit / "ImageSets/Main/train.txt").write_text("b\r\na\r\n", encoding=encoding)
    assert [r.id for r in read_image_set(devkit, "train")] == ["b", "a"]
    (tmp_path / "mine.txt").write_text("cat\ndog\n", encoding=encoding)
    assert read_class_list(tmp_path / "mine.txt") == ("cat", "dog")


def test_lists_in_another_encoding_are_refused(devkit):
    (devkit / "ImageSets/Main/train.txt").write_bytes("кот".encode("cp1251"))
    with pytest.raises(ValueError, match=r"train\.txt: not text in UTF-8 \(byte 0\); save it in UTF-8"):
        read_image_set(devkit, "train")


def rename(devkit, stem, suffix=".jpg"):
    (devkit / "JPEGImages/a.jpg").rename(devkit / "JPEGImages" / f"{stem}{suffix}")
    (devkit / "Annotations/a.xml").rename(devkit / "Annotations" / f"{stem}.xml")


@pytest.mark.parametrize("line", ["my photo 1", "my photo 1.jpg", "a b  c -1", "x 0", "photo.v2", "фото 1", "2_a"])
def test_ids_with_spaces_dots_and_suffixes(devkit, line):
    rename(devkit, line.removesuffix(".jpg"))
    (devkit / "ImageSets/Main/train.txt").write_text(f"{line}\nb\n")
    assert [r.id for r in read_image_set(devkit, "train")] == [line.removesuffix(".jpg"), "b"]


@pytest.mark.parametrize("suffix", [".webp", ".TIF", ".JPEG", ".jfif", ".bmp", ".gif", ".avif"])
def test_any_suffix_of_a_picture_in_any_case(devkit, suffix):
    with Image.open(devkit / "JPEGImages/a.jpg") as image:
        image.load()
    (devkit / "JPEGImages/a.jpg").unlink()
    image.save(devkit / f"JPEGImages/a{suffix}", Image.registered_extensions()[suffix.lower()])
    (devkit / "Annotations/a.xml").rename(devkit / "Annotations/a.XML")
    (devkit / "JPEGImages/._a.jpg").write_bytes(b"left by a Mac")
    assert read_image_set(devkit, "train")[1].path.suffix == suffix


def test_equal_stems_in_a_devkit_are_an_error(devkit):
    shutil.copy(devkit / "JPEGImages/a.jpg", devkit / "JPEGImages/a.png")
    with pytest.raises(ValueError, match=r"JPEGImages: a is several images: a\.jpg, a\.png; take away all but one"):
        read_image_set(devkit, "train")


def test_an_image_has_its_year_in_its_id_only_where_another_has_its_name(devkit, tmp_path):
    for year in ("2007", "2012"):
        shutil.copytree(devkit, tmp_path / f"VOC{year}")
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (tmp_path / f"VOC2012/{folder}/c.{suffix}").rename(tmp_path / f"VOC2012/{folder}/d.{suffix}")
    (tmp_path / "VOC2012/ImageSets/Main/train.txt").write_text("d\na\n")
    assert [r.id for r in read_image_set(tmp_path, "2012_train+2007_train")] == [
        "d",
        "VOC2012/a",
        "VOC2007/b",
        "VOC2007/a",
        "c",
    ]
