"""The reader of VOC devkits: boxes, lists and names as they are, and one message for all that is broken."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.voc_annotation import check_image
from repmet.data.sources.voc import CLASS_LISTS, NOVEL_SPLITS, VOC_CLASSES, read_class_list, read_image_set


def xml(*objects: str, size: str = "<size><width>60</width><height>40</height><depth/></size>") -> str:
    return f"<annotation><folder>x</folder>{size}{''.join(objects)}</annotation>"


def thing(name: str, x1, y1, x2, y2, more: str = "<difficult>0</difficult>") -> str:
    corners = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


@pytest.fixture
def devkit(tmp_path) -> Path:
    """Three images a, b, c in the list `train`, with a cat, a dog and a difficult cat."""
    root = tmp_path / "devkit"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
    (root / "ImageSets/Main/train.txt").write_text("b\na\nc\n")
    (root / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40)))
    (root / "Annotations/b.xml").write_text(
        xml(thing("dog", 2.5, 3.25, 20.75, 30, more="<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part><pose/>"))
    )
    (root / "Annotations/c.xml").write_text(
        xml(
            thing("cat", 5, 5, 20, 20, more="<difficult>1</difficult><attributes><a>1</a></attributes>"),
            thing(" dog ", 1, 1, 60, 40),
        )
    )
    return root


def test_records(devkit):
    b, a, c = read_image_set(devkit, "train", classes=["cat", "dog"])
    assert (b.id, a.id, c.id) == ("b", "a", "c")  # the list's order
    assert (a.width, a.height, a.path) == (60, 40, devkit / "JPEGImages" / "a.jpg")
    assert a.names == ("cat",) and c.names == ("cat", "dog")
    assert a.boxes.dtype == np.float32 and a.boxes.tolist() == [[0, 1, 30, 39]]  # one subtracted from all four
    assert b.boxes.tolist() == [[1.5, 2.25, 19.75, 29]]  # fractions kept, the part's box and name ignored
    assert c.difficult.dtype == bool and c.difficult.tolist() == [True, False]


def test_an_image_without_objects_is_kept(devkit):
    (devkit / "Annotations/a.xml").write_text(xml())
    record = read_image_set(devkit, "train")[1]
    assert record.boxes.shape == (0, 4) and record.names == () and record.difficult.shape == (0,)


def test_a_box_that_sticks_out_by_less_than_two_pixels_is_clipped(devkit):
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 0, 0, 61.9, 42.9)))
    assert read_image_set(devkit, "train")[1].boxes.tolist() == [[0, 0, 60, 40]]
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 0, 0, 63, 40)))
    with pytest.raises(ValueError, match="outside the image of 60x40"):
        read_image_set(devkit, "train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (xml(thing("cat", 10, 10, 90, 20)), r"a\.xml: object 1 \(cat\): box \(10, 10, 90, 20\) lies outside .*60x40"),
        (xml(thing("cat", -9, 10, 20, 20)), "lies outside"),
        (xml(thing("cat", 10, 10, 10, 20)), "has no area"),
        (xml(thing("cat", 20, 10, 10, 20)), "has no area"),
        (xml(thing("cat", 61.5, 10, 62, 20)), "has no area"),  # within tolerance of the border, nothing left inside
        (xml(thing("dog", 1, 1, 9, 9), thing("cat", "", 10, 10, 20)), r"object 2 \(cat\) lacks a number in <bndbox>"),
        (xml(thing("cat", "nan", 10, 10, 20)), "lacks a number"),
        (xml(thing("", 1, 1, 10, 20)), "has no <name>"),
        (xml("<object><name>cat</name></object>"), "lacks a number"),
        (xml(thing("cat", 1, 1, 9, 9), size=""), "no <size>"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>0</width><height>0</height></size>"), "no <size>"),
        (xml(thing("cat", 1, 1, 9, 9))[:-20], r"a\.xml: not well-formed XML"),
        ("", "not well-formed XML"),
        (None, r"a\.xml: the annotation is missing"),
        (xml(size="<size><width>40</width><height>60</height></size>"), "60x40 pixels and its annotation says 40x60"),
    ],
)
def test_broken_annotation(devkit, content, message):
    path = devkit / "Annotations/a.xml"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_image_set(devkit, "train")
    assert ": 1 problem\n" in str(caught.value)


def test_missing_picture(devkit):
    (devkit / "JPEGImages/a.jpg").unlink()
    with pytest.raises(ValueError, match=r"a\.jpg: the image is missing; add it, or take a off the list train"):
        read_image_set(devkit, "train")


@pytest.mark.parametrize("kept", [0.0, 0.05, 0.5, 0.97])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_picture_is_found_without_decoding(devkit, kept, suffix):
    source = devkit / "JPEGImages/a.jpg"
    path = source.with_suffix(f".{suffix}")
    with Image.open(source) as image:
        image.load()
    image.save(path)
    if suffix != "jpg":
        source.unlink()
    assert len(read_image_set(devkit, "train")) == 3
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=rf"a\.{suffix}: (the file is truncated|cannot be read).*fetch it again"):
        read_image_set(devkit, "train")


def test_decoding_finds_damage_in_the_middle(devkit):
    path = devkit / "JPEGImages/a.png"
    with Image.open(devkit / "JPEGImages/a.jpg") as image:
        image.save(path)
    (devkit / "JPEGImages/a.jpg").unlink()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert len(read_image_set(devkit, "train")) == 3
    with pytest.raises(ValueError, match=r"a\.png: cannot be read"):
        read_image_set(devkit, "train", decode=True)


def test_a_picture_that_lies_on_its_side_counts_as_it_is_shown(devkit):
    path = devkit / "JPEGImages/a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 60)).save(path, exif=exif)  # stored 40x60, shown 60x40
    assert check_image(read_image_set(devkit, "train")[1]) is None


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


def test_the_lists_that_come_along_are_the_splits():
    assert len(VOC_CLASSES) == len(set(VOC_CLASSES)) == 20 and list(VOC_CLASSES) == sorted(VOC_CLASSES)
    assert read_class_list("voc.txt") == VOC_CLASSES
    for number, novel in NOVEL_SPLITS.items():
        assert read_class_list(f"voc_novel_{number}.txt") == novel
        base = read_class_list(f"voc_base_{number}.txt")
        assert len(base) == 15 and set(base) | set(novel) == set(VOC_CLASSES)
    for path in CLASS_LISTS.glob("voc*.txt"):
        assert set(read_class_list(path)) <= set(VOC_CLASSES)


def test_foreign_objects_on_tarmac(repmet_data):
    root = repmet_data / "FOD-A"
    classes = read_class_list("classes_base.txt", root) + read_class_list("classes_novel.txt", root)
    train = read_image_set(root, "train", classes=classes)
    test = read_image_set(root, "test", classes=classes)
    assert (len(train), len(test), len(classes)) == (1240, 620, 31)
    boxes = np.concatenate([r.boxes for r in train])
    assert boxes.min() >= 0 and boxes.max() <= 300 and (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes % 1 != 0).any()  # fractions survive


def test_real_voc_images(repmet_data):
    trainval = read_image_set(repmet_data, "2007_trainval")
    test = read_image_set(repmet_data / "VOCdevkit", "2007_test", decode=True)
    assert (len(trainval), len(test)) == (491, 486)
    images = Counter(name for r in trainval + test for name in set(r.names))
    assert (images["car"], images["person"], images["motorbike"], images["cow"], images["tvmonitor"]) == (
        365,
        300,
        56,
        2,
        25,
    )
    assert any(r.difficult.any() for r in trainval)
    first = next(r for r in test if r.id == "000001")
    assert first.names == ("dog", "person")
    assert first.boxes.tolist() == [[47, 239, 194, 370], [7, 11, 351, 497]]


@pytest.mark.parametrize(
    ("word", "hard"),
    [
        ("0", False), ("1", True), ("False", False), ("TRUE", True), ("no", False), ("Yes", True), ("0.0", False),
        ("1.0", True), ("Unspecified", False), ("", False), ("  \n ", False), (" 1 ", True), ("none", False), ("2", True),
    ],
)  # fmt: skip
def test_difficult_as_people_write_it(devkit, word, hard):
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40, more=f"<difficult>{word}</difficult>")))
    assert read_image_set(devkit, "train")[1].difficult.tolist() == [hard]


def test_difficult_that_is_neither(devkit):
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40, more="<difficult>perhaps</difficult>")))
    with pytest.raises(ValueError, match=r"a\.xml: object 1 \(cat\): <difficult> 'perhaps' is neither yes nor no"):
        read_image_set(devkit, "train")
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40, more="")))
    assert read_image_set(devkit, "train")[1].difficult.tolist() == [False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (xml(thing("cat", -1, 2, 31, 40)), "lies outside the image"),
        (xml(thing("cat", 1, -1, 31, 40)), "lies outside the image"),
        (xml(thing("cat", 0.1, 0.2, 0.7, 0.9)), "are these shares of the image"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>60</width></size>"), "no <size>"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>60</width><height>x</height></size>"), "no <size>"),
        (xml(thing("cat", 1, 1, 9, 9), size="<size><width>60.5</width><height>40</height></size>"), "no <size>"),
    ],
)
def test_more_broken_annotations(devkit, content, message):
    (devkit / "Annotations/a.xml").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_image_set(devkit, "train")


def test_a_box_half_a_pixel_before_the_first_is_clipped(devkit):
    """xmin 0 is x = -1 from 0, within the tolerance of two pixels; xmin -1 is beyond it."""
    (devkit / "Annotations/a.xml").write_text(xml(thing("cat", -0.9, 0, 31, 40)))
    assert read_image_set(devkit, "train")[1].boxes.tolist() == [[0, 0, 30, 39]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(devkit, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    size = (40, 60) if orientation >= 5 else (60, 40)
    Image.new("RGB", size).save(devkit / "JPEGImages/a.jpg", exif=exif)
    assert len(read_image_set(devkit, "train")) == 3
    Image.new("RGB", size[::-1]).save(devkit / "JPEGImages/a.jpg", exif=exif)
    with pytest.raises(ValueError, match="40x60 pixels and its annotation says 60x40"):
        read_image_set(devkit, "train")


def test_a_jpeg_with_bytes_behind_its_end_is_whole(devkit):
    path = devkit / "JPEGImages/a.jpg"
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert len(read_image_set(devkit, "train", decode=True)) == 3


def test_exactly_ten_problems_are_all_shown(devkit):
    (devkit / "ImageSets/Main/train.txt").write_text("\n".join(["a", *(f"m{i:02d}" for i in range(10))]))
    with pytest.raises(ValueError, match="10 problems") as caught:
        read_image_set(devkit, "train")
    assert "m09" in str(caught.value) and "more" not in str(caught.value)


def test_an_oversized_picture_is_one_line(devkit, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"a\.jpg: cannot be read as an image \(.*decompression bomb"):
        read_image_set(devkit, "train")


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
