"""Folders with VOC XML files: encodings, names, links, parts, and which image an annotation means."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.annotated_folder import is_annotated, list_names, read_images


def image(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 60, 3), shade, np.uint8)).save(path)
    return path


def annotation(
    path: Path, name: str = "cup", *, encoding: str | None = None, filename: str = "", declared: str = ""
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'<?xml version="1.0" encoding="{declared or encoding}"?>' if declared or encoding else ""
    text = (
        f"{head}<annotation><filename>{filename}</filename><size><width>60</width><height>40</height></size>"
        f"<object><name>{name}</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>21</xmax><ymax>31</ymax></bndbox></object>"
        "</annotation>"
    )
    path.write_bytes(text.encode(encoding or "utf-8"))
    return path


def ids(root: Path, image_set: str = "all") -> list[str]:
    return [record.id for record in read_images(root, image_set)]


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("gbk", "猫"), ("gb18030", "龙猫"), ("big5", "貓"), ("shift_jis", "ねこ"), ("euc-kr", "고양이"), ("cp1251", "кот"),
        ("iso-8859-1", "Kätzchen"), ("utf-16", "猫"), ("utf-8-sig", "пёс"), ("koi8-r", "кот"),
    ],
)  # fmt: skip
def test_names_in_any_encoding(tmp_path: Path, encoding: str, name: str) -> None:
    image(tmp_path / "a.jpg")
    annotation(tmp_path / "a.xml", name, encoding=encoding, declared=encoding.removesuffix("-sig"))
    (record,) = read_images(tmp_path)
    assert record.names == (name,) and record.boxes.tolist() == [[2, 3, 20, 30]]


@pytest.mark.parametrize(
    ("declared", "encoding", "message"),
    [
        ("foo-8", "utf-8", r"a\.xml: its encoding 'foo-8' is unknown; save it in UTF-8"),
        ("", "cp1251", r"a\.xml: not well-formed XML"),
        ("gbk", "utf-16-le", r"a\.xml: not well-formed XML"),
        ("shift_jis", "gbk", r"a\.xml: not well-formed XML in shift_jis"),
    ],
)
def test_an_encoding_that_is_none_is_one_line(tmp_path: Path, declared: str, encoding: str, message: str) -> None:
    image(tmp_path / "a.jpg")
    path = annotation(tmp_path / "a.xml", "пёс" if encoding == "cp1251" else "犬猫鸟", declared=declared)
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    with pytest.raises(ValueError, match=message) as caught:
        read_images(tmp_path)
    assert ": 1 problem:\n" in str(caught.value)


@pytest.mark.parametrize("suffix", ["JPG", "Jpeg", "jpe", "JFIF", "tif", "TIFF", "webp", "bmp", "gif", "ppm", "avif", "jp2"])
def test_any_suffix_of_an_image_in_any_case(tmp_path: Path, suffix: str) -> None:
    plain = Image.fromarray(np.full((40, 60, 3), 90, np.uint8))
    plain.save(tmp_path / f"a.{suffix}", Image.registered_extensions()[f".{suffix.lower()}"])
    annotation(tmp_path / "a.XML")
    assert ids(tmp_path) == ["a"]


def test_hidden_files_and_those_of_programs_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image(tmp_path / "a.jpg")
    annotation(tmp_path / "a.xml")
    for name in ("._a.jpg", "._a.xml", ".idea/misc.xml", "__MACOSX/a.xml", ".git/x/b.xml", "@eaDir/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\7no XML")
    (tmp_path / "build.xml").write_text("<project><target/></project>")
    image(tmp_path / "later.jpg")
    with caplog.at_level(logging.WARNING):
        assert ids(tmp_path) == ids(tmp_path) == ["a"]
    said = [message for message in caplog.messages if str(tmp_path) in message]
    assert len(said) == 2, "each once"
    assert f"passed over, no annotations: 1 XML file, the first: {tmp_path / 'build.xml'}" in said[0]
    assert f"passed over, without an annotation: 1 image, the first: {tmp_path / 'later.jpg'}" in said[1]


def test_only_settings_of_a_program_are_no_annotations(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    (tmp_path / "build.xml").write_text("<project/>")
    with pytest.raises(ValueError, match="none of its XML files is an annotation in VOC's layout"):
        read_images(tmp_path)


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    image(tmp_path / "disk/a.jpg")
    annotation(tmp_path / "set/Annotations/a.xml")
    (tmp_path / "set/JPEGImages").symlink_to(tmp_path / "disk")
    (tmp_path / "set/again").symlink_to(tmp_path / "disk")
    (tmp_path / "set/Annotations/round").symlink_to(tmp_path / "set")
    (tmp_path / "disk/up").symlink_to(tmp_path)
    (record,) = read_images(tmp_path / "set")
    assert record.path == tmp_path / "set/JPEGImages/a.jpg"
    (tmp_path / "link").symlink_to(tmp_path / "set")
    assert ids(tmp_path / "link") == ["a"]


def test_equal_names_in_several_folders(tmp_path: Path) -> None:
    """Beside each other, in parallel folders, and in folders of parts; ids tell them apart, whichever part is read."""
    for k, day in enumerate(("day1", "day2")):
        image(tmp_path / "x" / day / "0001.jpg", k)
        annotation(tmp_path / "x" / day / "0001.xml", day)
        image(tmp_path / "y/images" / day / "0001.jpg", k)
        annotation(tmp_path / "y/annotations" / day / "0001.xml", day)
    for root in (tmp_path / "x", tmp_path / "y"):
        first, second = read_images(root)
        assert [first.path.parent.name, second.path.parent.name] == ["day1", "day2"] == [*first.names, *second.names]
        assert first.id.endswith("day1/0001") and second.id.endswith("day2/0001")


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
@pytest.mark.parametrize("layout", ["{part}/{name}", "images/{part}/{name}", "{part}/images/{name}"])
def test_folders_of_parts_are_lists(tmp_path: Path, val: str, layout: str) -> None:
    for k, (part, name) in enumerate([("train", "0001"), ("train", "0002"), (val, "0001"), (val, "0003")]):
        image(tmp_path / layout.format(part=part, name=f"{name}.jpg"), k)
        xml = layout.replace("images", "annotations").format(part=part, name=f"{name}.xml")
        annotation(tmp_path / xml, part)
    assert list_names(tmp_path) == {"train": "train", "base_test": "val", "support": "train", "query": "val"}
    train, valid = read_images(tmp_path, "train"), read_images(tmp_path, "val")
    assert {r.names for r in train} == {("train",)} and {r.names for r in valid} == {(val,)}
    assert all("train" in r.path.parts for r in train) and all(val in r.path.parts for r in valid)
    everything = read_images(tmp_path)
    assert {r.id for r in train} | {r.id for r in valid} == {r.id for r in everything} and len(everything) == 4
    assert {r.id for r in everything} >= {"0002", "0003"} and "0001" not in {r.id for r in everything}
    assert [r.id for r in read_images(tmp_path, "valid")] == [r.id for r in valid]
    with pytest.raises(FileNotFoundError, match="'test' is not one of its parts: train, val"):
        read_images(tmp_path, "test")


def test_an_image_of_another_part_is_not_meant(tmp_path: Path) -> None:
    annotation(tmp_path / "train/0001.xml")
    image(tmp_path / "val/0001.jpg")
    annotation(tmp_path / "val/0001.xml")
    with pytest.raises(ValueError, match=r"train/0001\.xml: there is no image of that name"):
        read_images(tmp_path)


def test_equal_stems_are_told_apart_by_the_name_that_the_annotation_gives(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg", 10)
    image(tmp_path / "a.png", 20)
    annotation(tmp_path / "a.xml", filename=r"C:\photos\a.png")
    (record,) = read_images(tmp_path)
    assert record.path.name == "a.png"
    annotation(tmp_path / "a.xml")
    with pytest.raises(ValueError, match=r"a\.xml: there are 2 images of that name below .*: a\.jpg, a\.png"):
        read_images(tmp_path)


def test_a_name_in_two_folders_is_an_error_that_names_both(tmp_path: Path) -> None:
    annotation(tmp_path / "xml/0001.xml")
    image(tmp_path / "photos/cam1/0001.jpg")
    image(tmp_path / "photos/cam2/0001.jpg")
    with pytest.raises(ValueError, match=r"0001\.xml: there are 2 images .*photos/cam1/0001\.jpg, photos/cam2/0001\.jpg"):
        read_images(tmp_path)


def test_two_annotations_of_one_image_are_an_error(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    annotation(tmp_path / "a.xml")
    other = annotation(tmp_path / "old/a.xml")
    with pytest.raises(ValueError, match=rf"{other}: {tmp_path / 'a.xml'} is an annotation of the same image"):
        read_images(tmp_path)


def test_what_is_annotated(tmp_path: Path) -> None:
    image(tmp_path / "cup/a.jpg")
    assert not is_annotated(tmp_path) and not is_annotated(tmp_path / "nowhere")
    annotation(tmp_path / ".old/a.xml")
    assert not is_annotated(tmp_path), "hidden"
    annotation(tmp_path / "deep/er/b.XML")
    assert is_annotated(tmp_path)
