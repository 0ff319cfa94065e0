"""Support sets and images to look at: which layouts are taken, where the pixels of a crop come to lie, what is refused."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.detection.episodes.support_set import read_support

BOX = (
    "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>21</xmax>"
    "<ymax>31</ymax></bndbox></object>"
)


def image(path: Path, size: tuple[int, int] = (60, 40), colour: tuple[int, ...] = (200, 10, 10), **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(path, **how)
    return path


def annotation(path: Path, name: str = "cup", difficult: str = "0") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = "<size><width>60</width><height>40</height></size>"
    path.write_text(f"<annotation>{size}{BOX.format(name=name, difficult=difficult)}</annotation>")


def coco(path: Path, file_name: str, kind: str = "cup") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": 1, "file_name": file_name, "width": 60, "height": 40}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 18, 27]}],
        "categories": [{"id": 1, "name": kind}],
    }
    path.write_text(json.dumps(content))


def test_crops_lie_on_a_canvas_of_their_borders_colour(tmp_path: Path) -> None:
    for name, colour, size in (("cup", (200, 10, 10), (20, 30)), ("pen", (10, 10, 200), (40, 8))):
        image(tmp_path / name / "one.png", size, colour)
    cup, pen = read_support(tmp_path, tmp_path / "scratch")
    assert (cup.names, pen.names) == (("cup",), ("pen",))
    assert (cup.width, cup.height, pen.width) == (90, 90, 120)
    np.testing.assert_array_equal(cup.boxes, [[35, 30, 55, 60]])
    np.testing.assert_array_equal(pen.boxes, [[40, 56, 80, 64]])
    with Image.open(cup.path) as canvas:
        assert canvas.getcolors() == [(90 * 90, (200, 10, 10))]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_crop_held_on_its_side_is_upright(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    image(tmp_path / f"cup/a.{suffix}", (20, 30), exif=exif)
    (cup,) = read_support(tmp_path, tmp_path / "scratch")
    assert (cup.width, cup.height) == (90, 90) and cup.boxes.tolist() == [[30, 35, 60, 55]]


def test_what_is_clear_around_a_crop_is_white(tmp_path: Path) -> None:
    """The colour below full transparency, red here, shows nowhere: neither in the crop nor in its canvas."""
    pixels = np.zeros((30, 20, 4), np.uint8)
    pixels[..., 0] = 255
    pixels[10:20, 5:15] = (0, 0, 90, 255)
    (tmp_path / "cup").mkdir()
    Image.fromarray(pixels).save(tmp_path / "cup/a.png")
    (cup,) = read_support(tmp_path, tmp_path / "scratch")
    with Image.open(cup.path) as canvas:
        assert sorted(canvas.getcolors()) == [(100, (0, 0, 90)), (90 * 90 - 100, (255, 255, 255))]


def test_class_folders_may_be_links_and_hold_any_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image(tmp_path / "disk/b.JPG")
    image(tmp_path / "set/猫/a.TIF")
    (tmp_path / "set/cup").symlink_to(tmp_path / "disk")
    for name in (".cache/x.jpg", "猫/._a.TIF"):
        image(tmp_path / "set" / name, format="JPEG")
    (tmp_path / "set/猫/notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        records = read_support(tmp_path / "set", tmp_path / "scratch")
    assert [r.names for r in records] == [("cup",), ("猫",)] and len({r.id for r in records}) == 2
    assert f"{tmp_path / 'set/猫'}: files that are no images are passed over: 1 .txt" in caplog.messages


LAYOUTS = {
    "VOC beside": lambda root: (image(root / "a.JPG"), annotation(root / "a.XML")),
    "JSON in annotations": lambda root: (image(root / "images/a.jpg"), coco(root / "annotations/x.json", "a.jpg")),
    "JSON of a part": lambda root: (image(root / "train/a.jpg"), coco(root / "train/_annotations.coco.json", "a.jpg")),
    "YOLO": lambda root: (
        image(root / "images/a.jpg"),
        (root / "data.yaml").write_text("names: [cup]\ntrain: images\n"),
        (root / "labels").mkdir(),
        (root / "labels/a.txt").write_text(f"0 {11 / 60} {16.5 / 40} {18 / 60} {27 / 40}"),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_shows_the_same_box(tmp_path: Path, layout: str) -> None:
    LAYOUTS[layout](tmp_path)
    (record,) = read_support(tmp_path, tmp_path / "scratch")
    assert record.names == ("cup",) and record.path.stem == "a"
    np.testing.assert_allclose(record.boxes, [[2, 3, 20, 30]], atol=1e-4)
    assert not (tmp_path / "scratch").exists()
    if layout == "YOLO":
        assert read_support(tmp_path / "data.yaml", tmp_path / "scratch")[0].path == record.path


def test_parts_are_taken_together(tmp_path: Path) -> None:
    for part, kind in (("train", "cup"), ("valid", "pen")):
        image(tmp_path / part / "same.jpg")
        coco(tmp_path / part / "_annotations.coco.json", "same.jpg", kind)
    records = read_support(tmp_path, tmp_path / "scratch")
    assert [r.names for r in records] == [("cup",), ("pen",)]
    assert [r.id for r in records] == ["train/same", "valid/same"]


@pytest.mark.parametrize("lists", [["mine"], ["train", "test"], ["one", "two"]])
def test_a_devkit_gives_its_only_list_or_train(tmp_path: Path, lists: list[str]) -> None:
    for name in "ab":
        image(tmp_path / f"JPEGImages/{name}.jpg")
        annotation(tmp_path / f"Annotations/{name}.xml")
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    for k, name in enumerate(lists):
        (tmp_path / f"ImageSets/Main/{name}.txt").write_text("ab"[k])
        (tmp_path / f"ImageSets/Main/._{name}.txt").write_bytes(b"left by a Mac")
    if lists == ["one", "two"]:
        with pytest.raises(ValueError, match="only list or from `train`; it has one, two"):
            read_support(tmp_path, tmp_path / "scratch")
    else:
        assert [r.id for r in read_support(tmp_path, tmp_path / "scratch")] == ["a"]


def test_difficult_boxes_alone_teach_nothing(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    annotation(tmp_path / "a.xml", difficult="yes")
    with pytest.raises(ValueError, match=r"no object is marked \(difficult ones do not count\)"):
        read_support(tmp_path, tmp_path / "scratch")
    annotation(tmp_path / "a.xml", difficult="False")
    assert len(read_support(tmp_path, tmp_path / "scratch")) == 1


def test_several_years_are_refused_and_archives_beside_a_set_are_no_year(tmp_path: Path) -> None:
    (tmp_path / "VOC2012.tar").write_bytes(b"an archive")
    image(tmp_path / "cup/a.jpg")
    assert read_support(tmp_path, tmp_path.with_name("scratch"))[0].names == ("cup",)
    (tmp_path / "VOC2012/ImageSets/Main").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds devkits of several years; supports are taken from the folder of one"):
        read_support(tmp_path, tmp_path.with_name("scratch"))


def test_a_large_crop_is_scaled_down_and_one_that_is_a_line_is_refused(tmp_path) -> None:
    """Its canvas is three times as wide and as high: of 30,000 pixels it would not fit into memory."""
    image(tmp_path / "set/cup/a.png", (3000, 1500))
    (record,) = read_support(tmp_path / "set", tmp_path / "scratch")
    assert (record.width, record.height) == (6144, 6144) and record.boxes.tolist() == [[2048, 2560, 4096, 3584]]
    image(tmp_path / "line/cup/a.png", (30000, 3))
    with pytest.raises(ValueError, match=r"cup/a.png: too odd an image to show a class \(30000x3\)"):
        read_support(tmp_path / "line", tmp_path / "scratch")


def test_learnt_classes_are_no_support_set(tmp_path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"mine\.pth: holds what was learnt, and no images"):
        read_support(tmp_path / "mine.pth", tmp_path / "scratch")


def test_a_box_that_ends_at_the_border_is_whole(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    annotation(tmp_path / "a.xml")
    text = (tmp_path / "a.xml").read_text().replace("<ymax>31", "<ymax>41").replace("<xmax>21", "<xmax>61")
    (tmp_path / "a.xml").write_text(text)
    assert read_support(tmp_path, tmp_path / "scratch")[0].boxes.tolist() == [[2, 3, 60, 40]]


def test_one_crop_by_two_ways_is_of_both_classes(tmp_path: Path) -> None:
    """A linked image shows each class that it lies under, and the two have ids of their own."""
    image(tmp_path / "cup/a.png", (20, 30))
    (tmp_path / "mug").mkdir()
    (tmp_path / "mug/a.png").symlink_to(tmp_path / "cup/a.png")
    records = read_support(tmp_path, tmp_path / "scratch")
    assert [r.names for r in records] == [("cup",), ("mug",)] and len({r.id for r in records}) == 2
    assert records[0].path != records[1].path


def test_a_photo_alone_is_no_support_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.jpg: a photo alone does not say where its objects are"):
        read_support(image(tmp_path / "a.jpg"), tmp_path / "scratch")


def test_every_crop_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name in "abc":
        image(tmp_path / f"cup/{name}.png")
    for name in "ac":
        (tmp_path / f"cup/{name}.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"(?s)2 problems:\n.*cup/a\.png.*cup/c\.png"):
        read_support(tmp_path, tmp_path / "scratch")


@pytest.mark.parametrize("turns", range(4))
def test_the_colour_of_the_border_is_that_of_most_pixels_of_its_four_sides(tmp_path: Path, turns: int) -> None:
    """One side is light, and so are one and a half others with it; the middle, which is dark, is no border."""
    pixels = np.full((20, 20, 3), 10, np.uint8)
    pixels[:, -1] = pixels[0] = pixels[-1, 8:] = 90
    (tmp_path / "cup").mkdir()
    Image.fromarray(np.rot90(pixels, turns)).save(tmp_path / "cup/a.png")
    (cup,) = read_support(tmp_path, tmp_path / "scratch")
    with Image.open(cup.path) as canvas:
        assert canvas.getpixel((0, 0)) == (90, 90, 90)
