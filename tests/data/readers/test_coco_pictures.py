"""Which picture a `file_name` of a COCO file means, in the folders that people keep their images in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.annotated_folder import list_names, read_images
from tests.data.readers.coco_files import one_image, picture, put


@pytest.mark.parametrize(
    ("file_name", "there"),
    [
        ("sub/x.jpg", "sub/x.jpg"), ("sub/x.jpg", "images/sub/x.jpg"), ("sub/x.jpg", "elsewhere/x.jpg"),
        ("x.jpg", "far/away/x.jpg"), ("x.jpg", "deep/x.JPG"), ("X.JPG", "x.jpg"), (r"C:\me\sub\x.jpg", "sub/x.jpg"),
        ("/home/me/x.jpg", "photos/x.jpg"), ("x y.jpg", "x y.jpg"), ("./x.jpg", "x.jpg"), ("x.tif", "x.tif"),
        ("x.jfif", "a/x.jfif"),
    ],
)  # fmt: skip
def test_where_a_picture_is_looked_for(tmp_path: Path, file_name: str, there: str) -> None:
    content = one_image(tmp_path, file_name=file_name)
    (tmp_path / "a.jpg").unlink()
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(path, "TIFF" if path.suffix == ".tif" else "JPEG")
    (record,) = read_images(put(tmp_path, content))
    assert record.path == path
    (tmp_path / "set.json").unlink()
    (record,) = read_images(put(tmp_path, content, "annotations/set.json").parent.parent)
    assert record.path == path, "from a folder of annotations too"


def test_the_name_says_the_folder_where_two_hold_it(tmp_path: Path) -> None:
    for camera in ("cam1", "cam2"):
        picture(tmp_path / "photos" / camera / "0001.jpg")
    content = one_image(tmp_path, file_name="cam2/0001.jpg")
    assert read_images(put(tmp_path, content))[0].path == tmp_path / "photos/cam2/0001.jpg"
    content = one_image(tmp_path, file_name="0001.jpg")
    with pytest.raises(ValueError, match=r"'.*0001\.jpg' is in 2 places: .*cam1/0001\.jpg, .*cam2/0001\.jpg; say which one"):
        read_images(put(tmp_path, content))
    beside = picture(tmp_path / "0001.jpg")
    assert read_images(tmp_path / "set.json")[0].path == beside, "as it is written, beside the file"


def test_equal_names_in_two_parts(tmp_path: Path) -> None:
    """The part that the annotation file says has the picture; ids tell the parts apart, whichever is read."""
    for part in ("train", "val"):
        picture(tmp_path / part / "0001.jpg")
        put(tmp_path, one_image(tmp_path, file_name="0001.jpg"), f"annotations/instances_{part}.json")
    (tmp_path / "a.jpg").unlink()
    (train,), (val,) = read_images(tmp_path, "train"), read_images(tmp_path, "val")
    assert (train.path, val.path) == (tmp_path / "train/0001.jpg", tmp_path / "val/0001.jpg")
    assert (train.id, val.id) == ("train/0001", "val/0001") == tuple(r.id for r in read_images(tmp_path))
    (tmp_path / "train/0001.jpg").unlink()
    with pytest.raises(ValueError, match=r"'0001\.jpg' is not there, but in the folder of another part: .*val/0001\.jpg"):
        read_images(tmp_path, "train")


def test_equal_stems(tmp_path: Path) -> None:
    content = one_image(tmp_path)
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    content["images"] += [content["images"][0] | {"id": k, "file_name": name} for k, name in ((6, "a.png"), (7, "b.png"))]
    assert [(r.id, r.path.name) for r in read_images(put(tmp_path, content))] == [
        ("a.jpg", "a.jpg"),
        ("a.png", "a.png"),
        ("b", "b.png"),
    ]


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("training", "val"), ("Train", "Validation")])
def test_exports_that_come_in_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    for part in names:
        picture(tmp_path / part / "same.jpg")
        picture(tmp_path / part / f"{part}.jpg")
        content = one_image(tmp_path, file_name="same.jpg")
        content["images"].append(content["images"][0] | {"id": 9, "file_name": f"{part}.jpg"})
        put(tmp_path, content, f"{part}/_annotations.coco.json")
    (tmp_path / "a.jpg").unlink()
    last = "test" if "test" in names else "val"
    assert list_names(tmp_path) == {"train": "train", "base_test": last, "support": "train", "query": last}
    for asked, part in zip(("train", "val", "test"), names, strict=False):
        records = read_images(tmp_path, asked)
        assert [r.path for r in records] == [tmp_path / part / "same.jpg", tmp_path / part / f"{part}.jpg"]
        assert [r.id for r in records] == [f"{part}/same", part]
        assert read_images(tmp_path, part)[0].path == records[0].path
    assert len({r.id for r in read_images(tmp_path)}) == 2 * len(names)
    with pytest.raises(FileNotFoundError, match=f"'novel' is not one of its COCO files: {', '.join(sorted(names))}"):
        read_images(tmp_path, "novel")


def test_linked_pictures_are_found(tmp_path: Path) -> None:
    picture(tmp_path / "disk/x.jpg")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/photos").symlink_to(tmp_path / "disk")
    (tmp_path / "set/more").symlink_to(tmp_path / "disk")
    content = one_image(tmp_path, file_name="x.jpg")
    (record,) = read_images(put(tmp_path / "set", content))
    assert record.path == tmp_path / "set/more/x.jpg"
