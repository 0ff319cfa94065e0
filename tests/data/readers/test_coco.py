"""COCO's own tree, files with one thing wrong, and the classes of the benchmarks on COCO and ImageNet-LOC."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.files import walk
from repmet.data.readers.annotated_folder import list_names, names_lists, read_images
from repmet.data.readers.coco import coco_lists, read_coco
from repmet.data.sources.voc import VOC_CLASSES, read_class_list
from tests.data.readers.coco_files import CATEGORIES, one_image, picture, put

# COCO's names of VOC's classes, where they differ.
OTHER_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


def write(root: Path, part: str, numbers: range, **more: list) -> None:
    """A list with a dog in every image, or the boxes of `boxes` in the image of that place."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / part).mkdir()
    for k in numbers:
        Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(root / part / f"{k:012d}.jpg")
    images = [{"id": k, "file_name": f"{k:012d}.jpg", "width": 40, "height": 30} for k in numbers]
    boxes = more.get("boxes") or [[2, 3, 20, 10]] * len(numbers)
    annotations = [
        {"id": i, "image_id": k, "category_id": 18, "bbox": box, "iscrowd": 0, "segmentation": [[1, 2, 3, 4, 5, 6]]}
        for i, (k, box) in enumerate(zip(numbers, boxes, strict=True))
    ]
    annotations.append({"id": 99, "image_id": numbers[0], "category_id": 64, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    (root / "annotations" / f"person_keypoints_{part}.json").write_text(json.dumps(content))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path, "train2017", range(1, 5))
    write(tmp_path, "val2017", range(7, 9))
    return tmp_path


def test_a_list_is_a_folder_of_the_tree(tree: Path) -> None:
    assert names_lists(tree, "train2017") and not names_lists(tree, "train2014") and not names_lists(tree)
    assert coco_lists(tree, "train2017+val2017") == [
        tree / "annotations/instances_train2017.json",
        tree / "annotations/instances_val2017.json",
    ]
    train = read_images(tree, "train2017", classes=["dog", "potted plant"])
    assert [r.path for r in train] == [tree / f"train2017/{k:012d}.jpg" for k in range(1, 5)]
    assert train[0].names == ("dog", "potted plant") and train[0].difficult.tolist() == [False, True]
    np.testing.assert_array_equal(train[0].boxes[0], [2, 3, 22, 13])
    both = read_images(tree, "train2017+val2017")
    assert [r.id for r in both] == [f"{k:012d}" for k in (1, 2, 3, 4, 7, 8)]
    with pytest.raises(FileNotFoundError, match=r"instances_val2014\.json: no such file"):
        read_images(tree, "train2017+val2014")


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "val2017", range(4), boxes=[[2, 3, 20, 10], [5, 5, 0, 9], [2, 3, 20, 10], [2, 3, 20, 10]])
    (tmp_path / "val2017/000000000002.jpg").unlink()
    (tmp_path / "val2017/000000000003.jpg").write_bytes(b"no picture")
    assert [r.id for r in read_images(tmp_path, "val2017")] == ["000000000000"]
    assert "3 images or boxes are left out" in caplog.text and "has no area" in caplog.text
    (tmp_path / "val2017/000000000000.jpg").unlink()
    with pytest.raises(ValueError, match="no usable image in 'val2017'"):
        read_images(tmp_path, "val2017")


def test_an_own_folder_with_such_names_is_still_one_without_lists(tmp_path: Path) -> None:
    write(tmp_path, "train2017", range(1, 5))
    write(tmp_path, "val2017", range(7, 9))
    for file in (tmp_path / "annotations").glob("person_*"):
        file.unlink()
    assert list_names(tmp_path) == {"train": "train", "base_test": "val", "support": "train", "query": "val"}
    assert len(read_images(tmp_path, "train")) == 4


def test_outlines_take_no_memory(tmp_path: Path) -> None:
    write(tmp_path, "val2017", range(2))
    file = tmp_path / "annotations/instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"] = [
        a | {"id": k, "segmentation": [[0.5 + k] * 3000]} for a in content["annotations"][:2] for k in range(50)
    ]
    file.write_text(json.dumps(content))
    size = file.stat().st_size
    tracemalloc.start()
    read_coco(file, tmp_path / "val2017")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * size, "bytes and text of the file, and no list of its numbers, which is five times as large"


def test_the_classes_of_the_benchmarks() -> None:
    base, novel = read_class_list("coco_base.txt"), read_class_list("coco_novel.txt")
    assert len(base) == 60 and not set(base) & set(novel)
    assert set(novel) == {OTHER_NAMES.get(name, name) for name in VOC_CLASSES}
    base, novel = read_class_list("imagenet_loc_base.txt"), read_class_list("imagenet_loc_novel.txt")
    assert (len(base), len(novel)) == (101, 214) and not set(base) & set(novel)
    assert novel == tuple(sorted(novel)) and all(len(n) == 9 and n[0] == "n" and n[1:].isdigit() for n in base + novel)
    assert base[:2] == ("n02119789", "n02100735") and base[-1] == "n02364673", "kit fox, English setter, ... guinea pig"


SPOILT = {
    "a list": (lambda c: [c], "it holds a list, not a mapping"),
    "past the right edge": (lambda c: c["annotations"][0].update(bbox=[25, 3, 17.5, 10]), "lies outside the image of 40x30"),
    "past the bottom": (lambda c: c["annotations"][0].update(bbox=[2, 25, 5, 8]), "lies outside the image of 40x30"),
    "five numbers": (
        lambda c: c["annotations"][0].update(bbox=[2, 3, 20, 10, 1]),
        r"bbox \[2, 3, 20, 10, 1\] is not \[x, y",
    ),
    "a boolean side": (lambda c: c["annotations"][0].update(bbox=[True, 3, 20, 10]), r"bbox \[True, .* is not \[x, y"),
    "text": (lambda c: c["annotations"][0].update(bbox="2 3 20 10"), r"is not \[x, y, width, height\]"),
    "shares": (lambda c: c["annotations"][0].update(bbox=[0.25, 0.5, 0.2, 0.2]), "are these shares of the image"),
    "whole shares": (lambda c: c["annotations"][0].update(bbox=[0, 0, 1, 1]), "are these shares of the image"),
    "height 0": (lambda c: c["images"][0].update(height=0), "image 'a.jpg' has no width and height in pixels"),
    "no height": (lambda c: c["images"][0].pop("height"), "image 'a.jpg' has no width and height in pixels"),
    "a boolean width": (lambda c: c["images"][0].update(width=True), "has no width and height in pixels"),
    "half a pixel": (lambda c: c["images"][0].update(width=40.5), "has no width and height in pixels"),
    "a crowd of words": (lambda c: c["annotations"][0].update(iscrowd="some"), "iscrowd 'some' is neither 0 nor 1"),
    "a name and an id twice": (lambda c: c["images"].append(dict(c["images"][0])), "image 'a.jpg' is listed twice"),
    "an id twice": (
        lambda c: c["images"].append(c["images"][0] | {"file_name": "b.jpg"}),
        "two images have the id ",
    ),
    "one file twice": (
        lambda c: c["images"].append(c["images"][0] | {"id": 6, "file_name": "A.JPG"}),
        r"images 'a\.jpg' and 'A\.JPG' are the same file",
    ),
    "a category twice": (lambda c: c["categories"].append({"id": 18, "name": "cat"}), "two categories have the id 18"),
    "no category name": (lambda c: c["categories"][0].update(name=" "), "category 18 has no name"),
    "a list as image": (
        lambda c: c["annotations"][0].update(image_id=[5]),
        r"annotation \d+ is of an image that is not listed",
    ),
    "a mapping as class": (lambda c: c["annotations"][0].update(category_id={}), "there is no category {}"),
    "no mapping": (lambda c: c["annotations"].append(3), "annotation number 2 is of an image that is not listed"),
    "no file name": (lambda c: c["images"][0].update(file_name=""), "image '' is not there"),
    "a name of lines": (lambda c: c["images"][0].update(file_name="a\nb"), r"image 'a\\nb' is not there"),
    "another size": (lambda c: c["images"][0].update(width=41), "has 40x30 pixels and its annotation says 41x30"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_wrong_is_one_line(tmp_path: Path, what: str) -> None:
    content = one_image(tmp_path)
    picture(tmp_path / "b.jpg")
    spoil, message = SPOILT[what]
    spoilt = spoil(content)
    path = put(tmp_path, spoilt if isinstance(spoilt, list) and what == "a list" else content)
    with pytest.raises(ValueError, match=message) as caught:
        read_images(path)
    assert str(path.parent) in str(caught.value)
    assert what == "a list" or ": 1 problem:\n" in str(caught.value) or "not a COCO file" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_and_names_with_blanks_around(tmp_path: Path, encoding: str) -> None:
    content = one_image(tmp_path, file_name=" a.jpg ")
    content["categories"][0]["name"] = " 猫 "
    put(tmp_path, content, encoding=encoding)
    (record,) = read_images(tmp_path)
    assert record.names == ("猫",) and record.id == "a" and record.boxes.tolist() == [[2, 3, 22, 13]]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [
        (1, True),
        (0, False),
        ("0", False),
        ("1", True),
        (False, False),
        (True, True),
        (None, False),
        ("no", False),
        (0.0, False),
    ],
)
def test_crowds_as_tools_write_them(tmp_path: Path, value: object, crowd: bool) -> None:
    content = one_image(tmp_path)
    content["annotations"][0]["iscrowd"] = value
    assert read_images(put(tmp_path, content))[0].difficult.tolist() == [crowd]


def test_a_box_that_sticks_out_by_less_than_two_pixels_is_clipped(tmp_path: Path) -> None:
    content = one_image(tmp_path)
    for box, clipped in (([25, 3, 16.5, 28.5], [25, 3, 40, 30]), ([-1.5, -1, 10, 10], [0, 0, 8.5, 9])):
        content["annotations"][0]["bbox"] = box
        assert read_images(put(tmp_path, content))[0].boxes.tolist() == [clipped]


@pytest.mark.parametrize(("width", "height"), [(41, 30), (40, 31), (41, 31)])
def test_odd_sizes_are_sizes(tmp_path: Path, width: int, height: int) -> None:
    content = one_image(tmp_path, width=width, height=height)
    Image.new("RGB", (width, height)).save(tmp_path / "a.jpg")
    (record,) = read_images(put(tmp_path, content))
    assert (record.width, record.height) == (width, height)


def test_annotations_that_share_an_id_are_read_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = one_image(tmp_path)
    first = content["annotations"][0]
    other = {**first, "id": "other"}
    content["annotations"] += [{**first, "bbox": [5, 5, 4, 4]}, other, other]
    walk.say_once.cache_clear()
    (record,) = read_images(put(tmp_path, content))
    assert len(record.boxes) == len(content["annotations"])
    (line,) = [line for line in caplog.messages if "id of another" in line]
    assert f"2 annotations with the id of another one, the first: {first['id']}; all are read" in line and "json" in line


LONG = "x" * 3000
LONG_ONES = {
    "a file": lambda c: c["images"][0].update(file_name=f"{LONG}.jpg"),
    "a class": lambda c: (c["categories"][0].update(name=LONG), c["annotations"][0].update(bbox=[0, 0, -1, 1])),
    "an odd class": lambda c: c["categories"][0].update(name=f"{LONG}\n{LONG}"),
    "a box": lambda c: c["annotations"][0].update(bbox=[3] * 3000),
    "an id": lambda c: c["annotations"][0].update(id=LONG, category_id=LONG),
}


@pytest.mark.parametrize("what", LONG_ONES)
def test_what_is_long_does_not_fill_the_screen(tmp_path: Path, what: str) -> None:
    content = one_image(tmp_path)
    LONG_ONES[what](content)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_images(put(tmp_path, content))
    assert len(str(caught.value)) < 300 + 2 * len(str(tmp_path))
