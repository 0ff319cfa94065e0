"""COCO's own tree, and the classes of the benchmarks that are drawn from it and from ImageNet-LOC."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.annotated_folder import list_names, names_lists, read_images
from repmet.data.readers.coco import coco_lists, read_coco
from repmet.data.sources.voc import VOC_CLASSES, read_class_list

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 64, "name": "potted plant"}]
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
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * size, "bytes and text of the file, and no list of its numbers, which is five times as large"


def test_the_classes_of_the_benchmarks() -> None:
    base, novel = read_class_list("coco_base.txt"), read_class_list("coco_novel.txt")
    assert len(base) == 60 and not set(base) & set(novel)
    assert set(novel) == {OTHER_NAMES.get(name, name) for name in VOC_CLASSES}
    base, novel = read_class_list("imagenet_loc_base.txt"), read_class_list("imagenet_loc_novel.txt")
    assert (len(base), len(novel)) == (101, 214) and not set(base) & set(novel)
    assert novel == tuple(sorted(novel)) and all(len(n) == 9 and n[0] == "n" and n[1:].isdigit() for n in base + novel)
    assert base[:2] == ("n02119789", "n02100735") and base[-1] == "n02364673", "kit fox, English setter, ... guinea pig"
