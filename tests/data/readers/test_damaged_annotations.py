"""A damaged or strange JSON file beside images is named, and never read as if it were not there."""

import json
import logging
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from repmet.data.files import walk
from repmet.data.readers.annotated_folder import is_annotated, read_images
from repmet.detection.episodes.support_set import read_support
from repmet.errors import UserError

BOX = [4, 5, 20, 30]


def coco(name: str = "a.jpg", label: str = "cat") -> dict:
    return {
        "images": [{"id": 1, "file_name": name, "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": label}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX}],
    }


def xml(label: str) -> str:
    box = "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>24</xmax><ymax>35</ymax></bndbox>"
    thing = f"<object><name>{label}</name>{box}</object>"
    return f"<annotation><size><width>64</width><height>48</height></size>{thing}</annotation>"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (90, 90, 90)).save(path)


WHOLE = json.dumps(coco()).encode()
DAMAGED = {
    "truncated": (WHOLE[: len(WHOLE) // 2], "damaged, or no JSON"),
    "empty": (b"", "it is empty"),
    "blank": (b" \n", "it is empty"),
    "zipped": (b"PK\x03\x04" + bytes(range(200, 256)), "it is a zip archive: unpack it"),
    "deep": (b"[" * 100_000, "it is nested too deeply"),
    "binary": (bytes(range(128, 255)), "it is no text"),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("image", ["a.jpg", "images/a.jpg", "JPEGImages/a.jpg", "cat/a.jpg"])
def test_a_damaged_json_file_is_named(tmp_path, kind, image) -> None:
    content, reason = DAMAGED[kind]
    picture(tmp_path / image)
    (tmp_path / "ann.json").write_bytes(content)
    for read in (lambda: read_images(tmp_path), lambda: read_support(tmp_path, tmp_path / "scratch")):
        with pytest.raises(UserError, match=r"ann\.json: damaged, or no JSON") as caught:
            read()
        assert reason in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))
    with pytest.raises(UserError, match=r"ann\.json: damaged, or no JSON"):
        read_images(tmp_path / "ann.json")


@pytest.mark.parametrize("damaged", [("train", "valid"), ("valid",)])
def test_an_export_in_parts_of_which_one_is_damaged(tmp_path, damaged) -> None:
    for part, name in (("train", "a.jpg"), ("valid", "b.jpg")):
        picture(tmp_path / part / name)
        text = json.dumps(coco(name))
        (tmp_path / part / "_annotations.coco.json").write_text(text[: len(text) // 2] if part in damaged else text)
    for image_set in ("all", "train"):
        with pytest.raises(UserError, match=rf"{damaged[0]}/_annotations\.coco\.json: damaged, or no JSON"):
            read_images(tmp_path, image_set)
    with pytest.raises(UserError, match=rf"{damaged[0]}/_annotations\.coco\.json: damaged, or no JSON"):
        read_support(tmp_path, tmp_path / "scratch")


def test_images_of_a_set_without_annotations_are_no_classes(tmp_path) -> None:
    picture(tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(UserError, match="JPEGImages: so folders of a set's images"):
        read_support(tmp_path, tmp_path / "scratch")


LABELME = {"version": "5.0", "shapes": [{"label": "cat", "points": [[1, 2], [30, 40]]}], "imagePath": "a.jpg"}


def test_labelme_is_named_and_is_no_class_of_crops(tmp_path) -> None:
    picture(tmp_path / "set/a.jpg")
    (tmp_path / "set/a.json").write_text(json.dumps(LABELME))
    with pytest.raises(UserError, match=r"set/a\.json: lies beside a\.jpg as its annotation, in a layout that is not read"):
        read_support(tmp_path, tmp_path / "scratch")
    for read in (lambda: read_images(tmp_path / "set"), lambda: read_support(tmp_path / "set", tmp_path / "scratch")):
        with pytest.raises(FileNotFoundError, match=r"a\.json is in LabelMe's layout, which is not read: export it as COCO"):
            read()


def test_a_json_file_that_lacks_a_part_of_coco_is_named(tmp_path) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "results.json").write_text(json.dumps({k: v for k, v in coco().items() if k != "categories"}))
    assert not is_annotated(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"results\.json is not COCO's: no categories"):
        read_images(tmp_path)


def test_annotations_in_two_layouts_are_not_passed_over_in_silence(tmp_path, caplog) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.xml").write_text(xml("dog"))
    (tmp_path / "settings.xml").write_text("<settings/>")
    (tmp_path / "ann.json").write_text(json.dumps(coco()))
    (tmp_path / "data.yaml").write_text("names: [bird]\ntrain: .\n")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    caplog.set_level(logging.WARNING)
    for taken, label in (("ann.json", "cat"), ("data.yaml", "bird")):
        walk.say_once.cache_clear()
        caplog.clear()
        assert [r.names for r in read_images(tmp_path)] == [(label,)]
        assert f"{tmp_path}: annotated twice: {taken} is read, 1 XML file passed over, the first: a.xml" in caplog.messages
        (tmp_path / taken).unlink()
    assert [r.names for r in read_images(tmp_path)] == [("dog",)]


@pytest.mark.parametrize("lies", ["NFC", "NFD"])
def test_accents_are_spelt_either_way(tmp_path, lies) -> None:
    """As every archive made on a Mac has them: the names of the files decomposed, those in the annotations composed."""
    here, said = unicodedata.normalize(lies, "café"), unicodedata.normalize("NFC" if lies == "NFD" else "NFD", "café")
    for place in ("coco", "coco_apart", "voc", "devkit/JPEGImages", "yolo"):
        picture(tmp_path / place / f"{here}.jpg")
    (tmp_path / "coco/ann.json").write_text(json.dumps(coco(f"{said}.jpg", said), ensure_ascii=False))
    (tmp_path / "coco_apart/annotations").mkdir()
    (tmp_path / "coco_apart/annotations/ann.json").write_text(json.dumps(coco(f"{said}.jpg", said)))
    (tmp_path / "voc" / f"{said}.xml").write_text(xml(said))
    for folder in ("Annotations", "ImageSets/Main"):
        (tmp_path / "devkit" / folder).mkdir(parents=True)
    (tmp_path / "devkit/Annotations" / f"{said}.xml").write_text(xml(said))
    (tmp_path / "devkit/ImageSets/Main/train.txt").write_text(f"{said}\n")
    (tmp_path / "yolo/data.yaml").write_text(f"names: [{said}]\ntrain: .\n")
    (tmp_path / "yolo" / f"{said}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    for place, image_set in (("coco", "all"), ("coco_apart", "all"), ("voc", "all"), ("devkit", "train"), ("yolo", "all")):
        (record,) = read_images(tmp_path / place, image_set)
        assert record.names == ("café",) and record.path.is_file(), place
