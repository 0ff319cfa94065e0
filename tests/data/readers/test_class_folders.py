"""Folders that are classes, and folders of a set that are none: every reader of class folders refuses the second."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from repmet.classification.support_images import read_support_images
from repmet.data.files import walk
from repmet.data.readers import image_folder
from repmet.data.readers.class_folders import class_folders
from repmet.errors import UserError


def images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    return root


@pytest.mark.parametrize(
    "names",
    [
        ("JPEGImages/a.jpg",),
        ("images/a.jpg", "labels/b.png"),
        ("train/a.jpg", "valid/b.jpg"),
        ("train2017/a.jpg", "val2017/b.jpg"),
        ("Train/cat/a.jpg", "Test/cat/b.jpg"),
    ],
)
def test_folders_of_a_set_are_no_classes(tmp_path, names) -> None:
    images(tmp_path, *names)
    for read in (class_folders, image_folder.read, read_support_images):
        with pytest.raises(UserError, match=r"so folders of a set's .* are called, and no classes"):
            read(tmp_path)


def test_a_class_may_be_called_train_among_others(tmp_path) -> None:
    images(tmp_path, "train/a.jpg", "bus/a.jpg")
    assert list(class_folders(tmp_path)) == ["bus", "train"]
    assert image_folder.read(tmp_path).classes == ("bus", "train")


def test_images_beside_the_classes_are_passed_over_and_said(tmp_path, caplog) -> None:
    images(tmp_path, "nut/a.jpg", "bolt/a.jpg", "loose.jpg", "more.png")
    for read in (image_folder.read, read_support_images):
        walk.say_once.cache_clear()
        caplog.clear()
        read(tmp_path)
        assert caplog.messages == [
            f"{tmp_path}: passed over, of no class: 2 images beside the class folders, the first: loose.jpg"
        ]


def test_a_class_is_what_it_is_called_however_its_accents_are_spelt(tmp_path) -> None:
    images(tmp_path, f"{unicodedata.normalize('NFD', 'Käfer')}/a.jpg", "Nuß/a.jpg")
    assert image_folder.read(tmp_path).classes == tuple(read_support_images(tmp_path)) == ("Käfer", "Nuß")


def test_what_detect_wrote_is_no_set_of_classes(tmp_path) -> None:
    images(tmp_path, "pictures/00000_a.png", "images/a.jpg")
    with pytest.raises(UserError, match="images, pictures: so folders of a set's"):
        class_folders(tmp_path)
