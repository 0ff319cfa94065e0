"""YOLO folders: every layout that services write, boxes and polygons, and one message for what is wrong."""

import logging
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from repmet.data.readers.annotated_folder import is_annotated, list_names, read_images

WIDTH, HEIGHT = 50, 40
# A box and a polygon whose box it is: x1, y1, x2, y2 = 10, 8, 30, 28.
BOX, POLYGON = "1 0.4 0.45 0.4 0.5", "0 0.2 0.2 0.6 0.3 0.5 0.7"


def image(path: Path, **how) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(path, **how)


def write(root: Path, images: dict[str, str | None], **description) -> Path:
    """`images`: by path below root, the text of the labels; None writes no file."""
    for name, labels in images.items():
        image(root / name)
        file = root / name.replace("images", "labels")
        if labels is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.with_suffix(".txt").write_text(labels)
    text = yaml.safe_dump({"names": ["nut", "bolt"]} | description, allow_unicode=True)
    (root / "data.yaml").write_text(text, encoding="utf-8")
    return root


def test_boxes_polygons_and_images_without_objects(tmp_path: Path) -> None:
    labels = f"{BOX}\n\n{POLYGON}\n0 0.4 0.45 0.4 0.5 0.93\n1.0 0.5 0.5 1 1\n"
    write(tmp_path, {"images/a.jpg": labels, "images/b.png": "", "images/c.png": None}, train="images")
    a, b, c = read_images(tmp_path)
    assert [a.id, b.id, c.id] == ["a", "b", "c"] and (a.width, a.height) == (WIDTH, HEIGHT)
    assert a.names == ("bolt", "nut", "nut", "bolt")
    expected = [[10, 8, 30, 28], [10, 8, 30, 28], [10, 8, 30, 28], [0, 0, 50, 40]]
    np.testing.assert_allclose(a.boxes, expected, atol=1e-4)
    assert a.boxes.dtype == np.float32 and not a.difficult.any() and a.difficult.shape == (4,)
    assert b.names == c.names == () and b.boxes.shape == (0, 4)
    assert [r.id for r in read_images(tmp_path / "data.yaml")] == ["a", "b", "c"] and is_annotated(tmp_path)
    dealt = [{r.id for r in part} for part in (_read(tmp_path, "train"), _read(tmp_path, "test"))]
    assert dealt[0] | dealt[1] == {"a", "b", "c"} and not dealt[0] & dealt[1]
    assert list_names(tmp_path)["support"] == "all"


def _read(root: Path, part: str) -> list:
    try:
        return read_images(root, part)
    except ValueError as error:
        assert "too few images" in str(error)
        return []


LAYOUTS = {
    "folders": ({"train": "images/train", "val": "images/val"}, "images/{part}/{name}"),
    "path": ({"path": "..", "train": "{root}/images/train", "val": "{root}/images/val"}, "images/{part}/{name}"),
    "path of another machine": ({"path": "/data/me", "train": "images/train", "val": "images/val"}, "images/{part}/{name}"),
    "one step too high": ({"train": "../train/images", "val": "../valid/images"}, "{part}/images/{name}"),
    "lists of folders": ({"train": ["train/images"], "val": ["val/images"]}, "{part}/images/{name}"),
    "text files": ({"train": "train.txt", "val": "val.txt"}, "images/{part}/{name}"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_parts(tmp_path: Path, layout: str) -> None:
    description, place = LAYOUTS[layout]
    root = tmp_path / "set"
    description = {k: v.format(root=root.name) if isinstance(v, str) else v for k, v in description.items()}
    val = "valid" if "valid" in str(description) else "val"
    names = {
        place.format(part="train", name="x.jpg"): BOX,
        place.format(part="train", name="same.jpg"): BOX,
        place.format(part=val, name="same.jpg"): POLYGON,
    }
    write(root, names, **description)
    if layout == "text files":
        for part in ("train", "val"):
            files = [f"./{name}" for name in names if f"/{part}/" in name]
            (root / f"{part}.txt").write_text("\ufeff" + "\n".join(files), encoding="utf-8")
    train, valid = read_images(root, "train"), read_images(root, "val")
    assert {r.path for r in train} == {root / n for n in names if "train" in n}
    assert [r.names for r in valid] == [("nut",)] and {r.names for r in train} == {("bolt",)}
    everything = read_images(root)
    assert len({r.id for r in everything}) == 3 and {r.id for r in train + valid} == {r.id for r in everything}
    assert "x" in {r.id for r in train}
    assert list_names(root) == {"train": "train", "base_test": "val", "support": "train", "query": "val"}
    with pytest.raises(FileNotFoundError, match="'test' is not one of its parts: train, val"):
        read_images(root, "test")


def test_names_by_number_in_any_script_and_a_part_that_is_not_there(tmp_path: Path, caplog) -> None:
    write(tmp_path, {"images/a.jpg": "7 0.5 0.5 0.1 0.1"}, names={7: "猫", 2: "кот"}, train="images", test="../test/images")
    with caplog.at_level(logging.WARNING):
        (record,) = read_images(tmp_path)
    assert record.names == ("猫",)
    assert any("1 of its folders are not there and are passed over: ../test/images" in m for m in caplog.messages)


def test_a_name_of_several_numbers_is_told(tmp_path: Path, caplog) -> None:
    labels = {"images/a.jpg": "0 0.5 0.5 0.1 0.1", "images/b.jpg": "2 0.5 0.5 0.1 0.1"}
    write(tmp_path, labels, names=["nut", "bolt", " nut"], train="images")
    with caplog.at_level(logging.WARNING):
        assert {r.names for r in read_images(tmp_path)} == {("nut",)}
    assert any("'nut' stands in `names` for several numbers" in m for m in caplog.messages)


@pytest.mark.parametrize(
    ("names", "count", "fits"), [(["a", "b"], 2, True), (["a", "b"], 3, False), ({0: "a", 7: "b"}, 8, True)]
)
def test_the_count_of_classes_has_to_fit_the_names(tmp_path: Path, names, count: int, fits: bool) -> None:
    write(tmp_path, {"images/a.jpg": BOX.replace("1", "0", 1)}, names=names, nc=count, train="images")
    with nullcontext() if fits else pytest.raises(ValueError, match="`nc` says 3 classes and `names` has 2"):
        assert len(read_images(tmp_path)) == 1


def test_key_points_are_no_polygon(tmp_path: Path) -> None:
    write(tmp_path, {"images/a.jpg": f"{BOX} 0.9 0.9 2 0.95 0.9 1"}, train="images", kpt_shape=[2, 3])
    (record,) = read_images(tmp_path)
    np.testing.assert_allclose(record.boxes, [[10, 8, 30, 28]], atol=1e-4)


def test_labels_beside_images_and_pictures_held_on_their_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image(tmp_path / "photos/a.webp", exif=exif)
    (tmp_path / "photos/a.txt").write_text(BOX)
    (tmp_path / "data.yaml").write_text("names: [nut, bolt]\ntrain: photos\n")
    (record,) = read_images(tmp_path)
    assert (record.width, record.height) == (HEIGHT, WIDTH)
    np.testing.assert_allclose(record.boxes, [[8, 10, 24, 35]], atol=1e-4)


WRONG = {
    "0 0.5 0.5 0.2": "expected at least 5 tokens",
    "nut 0.5 0.5 0.2 0.2": "Invalid class id 'nut'",
    "0.5 0.5 0.5 0.2 0.2": "Invalid class id",
    "2 0.5 0.5 0.2 0.2": "there is no class 2 in data.yaml",
    "0 25 20 10 10": "has values beyond 1; are they pixels",
    "0 0.5 0.5 nan 0.2": "expected a finite",
    "0 0.5 0.5 -0.2 0.2": "non-negative",
    "0 0.5 0.5 0 0.2": "has no area",
    "0 1.0 0.5 0.4 0.2": "lies outside the image of 50x40",
    "0 0.5 x 0.2 0.2": "could not convert",
    "0 0.5 0.5_0 0.2 0.2": "'0.5_0' is no number",
    "0 0.5 0.5 0.2 0.2_0 0.9": "'0.2_0' is no number",
    "0_0 0.5 0.5 0.2 0.2": "'0_0' is no number",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    write(tmp_path, {"images/a.jpg": f"{BOX}\n{line}\n", "images/b.jpg": BOX}, train="images")
    with pytest.raises(ValueError, match=": 1 problem:\n") as caught:
        read_images(tmp_path)
    assert f"{tmp_path}/labels/a.txt, line 2: " in str(caught.value) and WRONG[line] in str(caught.value)


def test_many_problems_are_one_message(tmp_path: Path) -> None:
    write(tmp_path, {f"images/{k:02d}.jpg": "9 0.5 0.5 0.1 0.1" for k in range(12)}, train="images")
    (tmp_path / "labels/orphan.txt").write_text(BOX)
    (tmp_path / "labels/classes.txt").write_text("nut\nbolt\n")
    (tmp_path / "images/03.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match="13 problems") as caught:
        read_images(tmp_path)
    assert "orphan.txt: there is no image of that name" in str(caught.value) and "... and 3 more" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [nut]\ntrain: nowhere\n", r"none of its folders holds an image \(nowhere\)"),
        ("names: [nut]\n", "no train, val or test"),
        ("names: nut\ntrain: images\n", "`names` is a list of classes"),
        ("names: [no, nut]\ntrain: images\n", "False in `names` is no class name"),
        ("names: {a: nut}\ntrain: images\n", "`names` is a list of classes"),
        ("names: [nut\n", "no YAML"),
        ("- nut\n", "no description of YOLO data"),
    ],
)
def test_a_wrong_description_is_named(tmp_path: Path, text: str, message: str) -> None:
    image(tmp_path / "images/a.jpg")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        read_images(tmp_path)
    assert f"{tmp_path}/data.yaml: " in str(caught.value)


def test_images_without_any_labels_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"images/a.jpg": None}, train="images")
    with pytest.raises(ValueError, match=r"no image has a file of labels; the first is looked for as .*labels/a\.txt"):
        read_images(tmp_path)
    (tmp_path / "other.yaml").write_text("names: [nut]\ntrain: images\n")
    (tmp_path / "data.yaml").rename(tmp_path / "set.yml")
    with pytest.raises(ValueError, match=r"2 YAML files describe YOLO data: other\.yaml, set\.yml; name one"):
        read_images(tmp_path)


def test_a_class_number_beyond_all_integers_is_none_of_its_classes(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: .\nval: .\n")
    (tmp_path / "a.txt").write_text(f"{10**30} 0.5 0.5 0.4 0.5\n")
    with pytest.raises(ValueError, match=r"a\.txt, line 1: there is no class 10{30} in data\.yaml"):
        read_images(tmp_path)
