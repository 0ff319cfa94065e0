"""Many sets in one training: which images and classes each brings, and what it leaves unmarked."""

import json

import numpy as np
import pytest
from PIL import Image

from repmet.detection.image_sets import read_sets


@pytest.fixture
def folder(tmp_path):
    """Six images in COCO's layout: a cat in each, a dog too in the even ones."""
    images, boxes = [], []
    for i in range(6):
        Image.fromarray(np.full((40, 60, 3), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 60, "height": 40})
        for category in (1, 2) if i % 2 == 0 else (1,):
            boxes.append(
                {"id": len(boxes), "image_id": i, "category_id": category, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
            )
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (tmp_path / "instances.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return tmp_path


def test_label_spaces_are_apart(folder):
    pets, again = read_sets([{"name": "pets", "root": folder}, {"name": "again", "root": folder, "without": ["cat"]}])
    assert pets.labels() == ["pets/cat", "pets/dog"] and again.labels() == ["again/dog"]
    assert len(pets.records) == len(again.records) == 6


def test_a_limit_is_spread_over_the_list(folder):
    whole, part = read_sets([{"root": folder}, {"name": "part", "root": folder, "limit": 3}])
    assert [r.id for r in part.records] == [whole.records[i].id for i in (0, 2, 5)]


def test_images_with_a_dropped_class_are_left_out(folder):
    cats, both = read_sets([{"root": folder, "drop": ["dog"]}, {"name": "both", "root": folder, "without": ["dog"]}])
    assert [r.id for r in cats.records] == [r.id for r in both.records][1::2] and cats.classes == ("cat",)


def test_unmarked_boxes(folder, tmp_path):
    path = tmp_path / "teacher.json"
    path.write_text(json.dumps([{"image_id": "1", "bbox": [1, 2, 3, 4]}, {"image_id": "1", "bbox": [0, 0, 9, 9]}]))
    (pets,) = read_sets([{"root": folder, "unmarked": str(path)}])
    assert pets.unmarked["1"].tolist() == [[1, 2, 4, 6], [0, 0, 9, 9]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rot": "x"}, r"data\[0\]: unknown key rot; a set of images has name, root"),
        ({"name": "pets"}, r"data\[0\]: a set of images names its folder as `root`"),
        ({"without": ["bird"]}, r"data\[0\]: `without` names bird, which is no class"),
        ({"without": ["cat", "dog"]}, r"data\[0\]: no image of .* holds an object of its 0 classes"),
        ({"unmarked": "none.json"}, "none.json: no such file of unmarked boxes"),
    ],
)
def test_what_is_wrong_with_a_set(folder, config, message):
    root = {} if set(config) & {"rot", "name"} else {"root": folder}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_sets([root | config])


STRANGE = ['{"a": 1', "[" * 100_000, '[{"image_id": 1}]', "[1]", '[{"image_id": 1, "bbox": [1, 2]}]']


@pytest.mark.parametrize("content", STRANGE, ids=["cut", "deep", "no box", "a number", "half a box"])
def test_a_strange_file_of_unmarked_boxes(folder, tmp_path_factory, content):
    path = tmp_path_factory.mktemp("unmarked") / "boxes.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"boxes\.json: no list of boxes as COCO's results are"):
        read_sets([{"root": folder, "unmarked": str(path)}])


def test_two_sets_of_one_name(folder):
    with pytest.raises(ValueError, match=f"data: two sets are called '{folder.name}'; give one of them another `name`"):
        read_sets([{"root": folder}, {"root": folder}])
