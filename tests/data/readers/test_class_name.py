"""Names of classes that every file of results can hold, wherever they come from; odd ones are refused with one line."""

import json
import os

import pytest
from PIL import Image

from repmet.classification.support_images import read_support_images
from repmet.data.readers import image_folder
from repmet.data.readers.annotated_folder import read_images
from repmet.data.readers.class_name import check_class_names, name_problem
from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.episodes.support_set import read_support
from repmet.errors import UserError


@pytest.mark.parametrize("name", ["nut", "wing nut", "Känguru", "螺母", "a/b", "10", "🦘"])
def test_text_is_a_name(name) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("k\udce4nguru", "holds bytes that are no UTF-8 text"),
        ("a\0b", "holds control characters"),
        ("traffic\nlight", "holds control characters"),
        ("traffic\u2028light", "holds control characters"),
        ("\x1b[31m", "holds control characters"),
        (" \t", "is no name"),
        ("", "is no name"),
        (3, "is of type int"),
    ],
)
def test_what_is_no_name_is_said(name, what) -> None:
    with pytest.raises(UserError, match=what) as caught:
        check_class_names(["nut", name], "photos")
    assert str(caught.value).startswith(f"photos: class {name!r} ")


def test_a_folder_whose_name_is_no_text_is_refused_by_every_reader(tmp_path) -> None:
    folder = os.fsencode(tmp_path) + b"/set/k\xe4nguru"
    os.makedirs(folder)
    Image.new("RGB", (8, 8)).save(os.fsdecode(folder + b"/a.png"))
    for read in (image_folder.read, read_support_images):
        with pytest.raises(UserError, match=r"class 'k\\udce4nguru' holds bytes that are no UTF-8 text; rename it"):
            read(tmp_path / "set")
    with pytest.raises(UserError, match="holds control characters"):
        read_support_images({"a\0": Image.new("RGB", (4, 4))})


@pytest.mark.parametrize("name", ["two\nlines", "a\tb", "bell\a", "a\x85b"])
def test_a_folder_whose_name_breaks_lines_is_refused_as_a_category_is(tmp_path, name) -> None:
    (tmp_path / "crops" / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "crops" / name / "a.png")
    for read in (image_folder.read, read_support_images, lambda root: read_support(root, tmp_path)):
        with pytest.raises(UserError, match="holds control characters; rename it") as caught:
            read(tmp_path / "crops")
        assert "\n" not in str(caught.value) and repr(name) in str(caught.value)


def test_a_category_whose_name_is_no_text_is_refused(tmp_path) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "a.png")
    for name in ("nut\0", "two\nlines", "\udce4"):
        content = {
            "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}],
            "categories": [{"id": 1, "name": name}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 20, 30]}],
        }
        (tmp_path / "a.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match="rename it"):
            read_images(tmp_path)


def test_an_image_whose_name_is_no_text_has_a_name_that_can_be_written(tmp_path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/k\xe4nguru.png")
    Image.new("RGB", (8, 8)).save(path)
    (image,) = image_inputs(tmp_path)
    assert image.name == f"{tmp_path}/k\\xe4nguru.png" and image.name.encode()
    assert image.open().size == (8, 8)
