"""Lists of support images as people save them, and what is wrong with them in one line."""

import unicodedata

import pytest
from PIL import Image

from repmet.classification.support_images import read_support_images
from repmet.errors import UserError


@pytest.fixture
def photo(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_in_unicode(photo, encoding) -> None:
    (photo.parent / "list.csv").write_bytes("image,class\r\na.png,Känguru\r\n".encode(encoding))
    assert list(read_support_images(photo.parent / "list.csv")) == ["Känguru"]


def test_a_list_in_another_encoding_is_named(photo) -> None:
    (photo.parent / "list.csv").write_bytes("image,class\na.png,Känguru\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"list\.csv: not text in UTF-8 \(byte 19\); save it in UTF-8"):
        read_support_images(photo.parent / "list.csv")


def test_a_line_that_is_none(photo) -> None:
    (photo.parent / "list.csv").write_text(f"image,class\na.png,nut\na.png,{'x' * 200_000}\n")
    with pytest.raises(UserError, match=r"list\.csv: line 3 is no line of a CSV file \(field larger"):
        read_support_images(photo.parent / "list.csv")


def test_names_with_accents_spelt_either_way(tmp_path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / unicodedata.normalize("NFD", "café.png"))
    (tmp_path / "list.csv").write_text(f"image,class\ncafé.png,é\ncafé.png,{unicodedata.normalize('NFD', 'é')}\n")
    (images,) = read_support_images(tmp_path / "list.csv").values()
    assert len(images) == 1 and images[0].open().size == (8, 8)


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        ([], UserError, "class 'nut': no image to look at: the list is empty"),
        ("gone.png", FileNotFoundError, r"class 'nut': gone\.png: no such image or folder"),
        (7, TypeError, "class 'nut': images are paths, .* not int"),
    ],
)
def test_a_mapping_names_the_class_whose_images_are_wrong(images, kind, message) -> None:
    with pytest.raises(kind, match=message):
        read_support_images({"nut": images})


def test_a_list_names_itself_and_the_line_of_a_missing_image(photo) -> None:
    (photo.parent / "list.csv").write_text("image,class\na.png,nut\nnope.png,nut\n")
    with pytest.raises(FileNotFoundError, match=r"list\.csv: line 3: .*nope\.png: no such image or folder"):
        read_support_images(photo.parent / "list.csv")


def test_a_line_that_comes_twice_counts_once_and_is_said(photo, caplog) -> None:
    (photo.parent / "list.csv").write_text("image,class\na.png,nut\na.png,nut\na.png,nut\na.png,bolt\n")
    by_class = read_support_images(photo.parent / "list.csv")
    assert {name: len(images) for name, images in by_class.items()} == {"bolt": 1, "nut": 1}
    (line,) = caplog.messages
    assert line.startswith(f"{photo.parent / 'list.csv'}: 2 images come twice in a class, the first: ")
    assert line.endswith("a.png of nut; each counts once")
    picture = Image.new("RGB", (8, 8))
    assert len(read_support_images({"nut": [picture, picture, picture.copy()]})["nut"]) == 2


@pytest.mark.parametrize("columns", ["image,class,class", "image,image,class", "image,label", ""])
def test_a_list_names_each_column_once(photo, columns) -> None:
    (photo.parent / "list.csv").write_text(f"{columns}\na.png,nut,bolt\n")
    with pytest.raises(UserError, match=r"list\.csv: its first line names the columns image and class, each once, not"):
        read_support_images(photo.parent / "list.csv")
