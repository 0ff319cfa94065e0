"""Data sets for other tools: the readers of those tools get back what was found; nothing is lost or doubled."""

import csv
import errno
import json
import os
import stat
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools.coco import COCO

from repmet import Detections, export
from repmet.data.files.output_folder import NOTE
from repmet.data.readers.annotated_folder import read_images
from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.exports import KINDS, file_names, files_of
from repmet.errors import UserError

CLASSES = ("nut & bolt", "ねじ größe")
BOXES = {"a.png": [(10, 20, 60, 80), (100.5, 30.25, 150, 70)], "sub/b c.png": [], "sub/größe ねじ.png": [(0, 0, 200, 100)]}


@pytest.fixture
def results(tmp_path: Path) -> list[Detections]:
    results = []
    for number, (name, boxes) in enumerate(BOXES.items()):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100), (9 * number, 90, 90)).save(path)
        (image,) = image_inputs(path)
        values = {
            "boxes": boxes,
            "scores": [0.9, 0.5][: len(boxes)],
            "labels": [1, 0][: len(boxes)],
            "nearest": [-1] * len(boxes),
        }
        arrays = {key: np.array(value) for key, value in values.items()}
        results.append(Detections(**arrays, classes=CLASSES, image=image, size=(200, 100)))
    return results


def rows_of(results: list[Detections]) -> dict[str, list]:
    return {
        name: sorted((label, *map(float, box)) for label, box in zip(result.names, result.boxes.tolist(), strict=True))
        for name, result in zip(BOXES, results, strict=True)
    }


def rows_of_supervision(dataset: supervision.DetectionDataset, root: Path) -> dict[str, list]:
    return {
        Path(path).relative_to(root).as_posix(): sorted(
            (dataset.classes[label], *box) for label, box in zip(boxes.class_id, boxes.xyxy.tolist(), strict=True)
        )
        for path, _, boxes in dataset
    }


def same(rows: dict[str, list], expected: dict[str, list], tolerance: float) -> None:
    assert rows.keys() == expected.keys()
    for name, boxes in expected.items():
        assert [row[0] for row in rows[name]] == [row[0] for row in boxes], name
        np.testing.assert_allclose([row[1:] for row in rows[name]], [row[1:] for row in boxes], atol=tolerance)


def test_coco_comes_back(results, tmp_path, capsys):
    made = export(results, tmp_path / "out", "coco", images=True)
    assert (made.images, made.boxes, made.file) == (3, 3, tmp_path / "out" / "annotations.json")
    coco = COCO(str(made.file))
    capsys.readouterr()
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == list(BOXES)
    assert [round(row["score"], 4) for row in coco.loadAnns(coco.getAnnIds())] == [0.9, 0.5, 0.9]
    images = tmp_path / "out" / "images"
    dataset = supervision.DetectionDataset.from_coco(str(images), str(made.file))
    same(rows_of_supervision(dataset, images), rows_of(results), 0.01)


def test_yolo_comes_back(results, tmp_path):
    export(results, tmp_path / "out", "yolo", images=True)
    records = read_images(tmp_path / "out")
    rows = {
        r.path.relative_to(tmp_path / "out/images").as_posix(): sorted(
            (n, *b) for n, b in zip(r.names, r.boxes.tolist(), strict=True)
        )
        for r in records
    }
    same(rows, rows_of(results), 0.01)


def test_voc_comes_back(results, tmp_path):
    export(results, tmp_path / "out", "voc", images=True)
    rows = {}
    for path in (tmp_path / "out" / "Annotations").rglob("*.xml"):
        tree = xml.parse(path).getroot()
        objects = [
            (o.findtext("name"), *(float(o.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")))
            for o in tree.iter("object")
        ]
        rows[tree.findtext("filename")] = sorted((n, a - 1, b - 1, c, d) for n, a, b, c, d in objects)
        assert (tmp_path / "out" / "JPEGImages" / tree.findtext("filename")).is_file()
    same(rows, rows_of(results), 1)  # VOC has whole pixels
    listed = (tmp_path / "out/ImageSets/Main/default.txt").read_text(encoding="utf-8").splitlines()
    assert listed == [name.removesuffix(".png") for name in BOXES]


NAMES = {
    "blanks and newlines": ["  blank .jpg", "new\nline.jpg", "new_line.jpg", "blank.jpg", "a\u2028b.jpg", "bell\a.jpg"],
    "folders": ["a.jpg", "sub/a.jpg", "sub /b.jpg", "images/c.jpg", "train/d.jpg", "val/d.jpg", "labels/e.jpg"],
    "what other systems split at": ["a:b.jpg", "x\\y.jpg", ".hidden.jpg", " .jpg", "_.jpg", "d/.../x.jpg"],
    "accents spelt both ways": ["e\u0301.jpg", "\u00e9.jpg"],
}


@pytest.mark.parametrize("kind", ["coco", "yolo", "voc"])
@pytest.mark.parametrize("names", NAMES)
def test_copies_have_names_that_our_readers_read_back(tmp_path, kind, names):
    results = []
    for number, name in enumerate(NAMES[names]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60 + number, 40)).save(path)
        arrays = {"boxes": [(5, 5, 30, 20 + number)], "scores": [0.9], "labels": [0], "nearest": [-1]}
        values = {key: np.array(value) for key, value in arrays.items()}
        results.append(Detections(**values, classes=("nut",), image=image_inputs(path)[0], size=(60 + number, 40)))
    export(results, tmp_path / "out", kind, images=True)
    records = read_images(tmp_path / "out", "default" if kind == "voc" else "all")
    boxes = {r.width - 60: r.boxes.round(1).tolist() for r in records}
    assert len(records) == len(results)
    assert all(abs(boxes[n][0][3] - 20 - n) <= 1 for n in range(len(results)))
    without_copies = file_names([result.image for result in results])
    assert without_copies[0] == NAMES[names][0]  # those of the user's files


def test_cvat_comes_back(results, tmp_path):
    root = xml.parse(export(results, tmp_path / "out", "cvat").file).getroot()
    assert root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.findall("meta/task/labels/label")] == list(CLASSES)
    rows = {}
    for image in root.findall("image"):
        assert (image.get("width"), image.get("height")) == ("200", "100")
        rows[image.get("name")] = sorted(
            (box.get("label"), *(float(box.get(side)) for side in ("xtl", "ytl", "xbr", "ybr")))
            for box in image.findall("box")
        )
    same(rows, rows_of(results), 0.01)


def test_cvat_is_read_again_with_its_images(results, tmp_path):
    export(results, tmp_path / "out", "cvat", images=True)
    rows = {
        r.path.relative_to(tmp_path / "out/images").as_posix(): sorted(
            (n, *b) for n, b in zip(r.names, r.boxes.tolist(), strict=True)
        )
        for r in read_images(tmp_path / "out")
    }
    same(rows, rows_of(results), 0.01)


def test_fiftyone_gets_shares_of_the_image(results, monkeypatch):
    """Where it is not installed, by what stands in for it: two classes that keep what they are made of."""
    import sys
    from types import SimpleNamespace

    if "fiftyone" not in sys.modules:
        monkeypatch.setitem(sys.modules, "fiftyone", SimpleNamespace(Detection=SimpleNamespace, Detections=SimpleNamespace))
    first, *_ = results[0].to_fiftyone().detections
    assert first.label == CLASSES[1] and first.confidence == pytest.approx(0.9)
    assert first.bounding_box == pytest.approx([0.05, 0.2, 0.25, 0.6])
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ImportError, match="pip install fiftyone"):
        results[0].to_fiftyone()


def test_label_studio_gets_percentages_and_the_interface_that_fits(results, tmp_path):
    made = export(results, tmp_path / "out", "labelstudio")
    tasks = json.loads(made.file.read_text(encoding="utf-8"))
    view = xml.parse(tmp_path / "out" / "labels.xml").getroot()
    assert [label.get("value") for label in view.iter("Label")] == list(CLASSES)
    rows = {}
    for name, task in zip(BOXES, tasks, strict=True):
        assert task["data"]["image"].startswith("/data/local-files/?d=") and " " not in task["data"]["image"]
        (prediction,) = task["predictions"]
        rows[name] = []
        for region in prediction["result"]:
            assert view.find(region["type"].replace("rectanglelabels", "RectangleLabels")).get("name") == region["from_name"]
            assert view.find("Image").get("name") == region["to_name"] and 0 <= region["score"] <= 1
            value, (width, height) = region["value"], (region["original_width"], region["original_height"])
            x, y = value["x"] / 100 * width, value["y"] / 100 * height
            rows[name].append(
                (value["rectanglelabels"][0], x, y, x + value["width"] / 100 * width, y + value["height"] / 100 * height)
            )
        rows[name].sort()
    same(rows, rows_of(results), 0.01)


def test_a_table_has_a_row_a_box_and_one_for_an_empty_image(results, tmp_path):
    with export(results, tmp_path / "out", "csv").file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a.png", "a.png", "sub/b c.png", "sub/größe ねじ.png"]
    assert rows[2]["class"] == "" and float(rows[1]["x1"]) == 100.5 and rows[0]["class"] == CLASSES[1]


def test_images_of_one_stem_do_not_take_each_others_labels(tmp_path, results):
    renamed = []
    for name in ("x/a.png", "y/a.png", "y/A.jpg", "y/a.bmp"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100)).save(path)
        renamed.append(Detections(**{**vars(results[0]), "image": image_inputs(path)[0]}))
    assert file_names([result.image for result in renamed]) == ["x/a.png", "y/a.png", "y/A-2.jpg", "y/a-3.bmp"]
    export(renamed, tmp_path / "out", "yolo", images=True)
    assert (
        len(list((tmp_path / "out" / "labels").rglob("*.txt"))) == len(list((tmp_path / "out" / "images").rglob("*.*"))) == 4
    )


def test_images_in_memory_are_named_and_written(tmp_path, results):
    (image,) = image_inputs(np.zeros((100, 200, 3), np.uint8))
    in_memory = Detections(**{**vars(results[0]), "image": image})
    export([in_memory, in_memory], tmp_path / "out", "coco", images=True)
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == ["image_1-2.png", "image_1.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_refused(kind, tmp_path):
    with pytest.raises(ValueError, match="nothing to export"):
        export([], tmp_path / "out", kind)


def test_a_format_that_is_none_is_said(results, tmp_path):
    with pytest.raises(ValueError, match="no format 'yollo'; did you mean 'yolo'"):
        export(results, tmp_path / "out", "yollo")
    assert not (tmp_path / "out").exists()


DATUMARO = Path(__file__).parents[2] / "build/datumaro/bin/python"
READ = """
import json, sys
from datumaro import Dataset
from datumaro.components.annotation import AnnotationType
data = Dataset.import_from(sys.argv[1], sys.argv[2])
names = data.categories()[AnnotationType.label].items
rows = {item.id: sorted([names[a.label].name, *a.get_bbox()] for a in item.annotations) for item in data}
print("ROWS" + json.dumps(rows))
"""


@pytest.mark.skipif(
    not DATUMARO.is_file(), reason="needs datumaro, which pins what we do not: an environment build/datumaro"
)
@pytest.mark.parametrize(("kind", "reader"), [("cvat", "cvat"), ("voc", "voc_detection")])
def test_datumaro_reads_it(results, tmp_path, kind, reader):
    import subprocess

    out = tmp_path / "out"
    export(results, out, kind, images=True)
    said = subprocess.run([DATUMARO, "-c", READ, out, reader], capture_output=True, text=True, check=True).stdout
    read = json.loads(said.partition("ROWS")[2])
    expected = {name.removesuffix(".png"): boxes for name, boxes in rows_of(results).items()}
    rows = {name: sorted((n, x, y, x + w, y + h) for n, x, y, w, h in boxes) for name, boxes in read.items()}
    same(rows, expected, 0.01 if kind == "cvat" else 1.51)


@pytest.mark.parametrize("kind", KINDS)
def test_whichever_file_has_no_room_the_set_is_not_begun(kind, results, tmp_path, monkeypatch) -> None:
    """The disk is full at each write in turn."""
    export(results, tmp_path / "whole", kind, images=True)
    whole = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    folder, named = tmp_path / "set", set()
    flush = os.fsync
    for number in range(len(whole)):
        left = iter(range(number))

        def full(file: int, left=left) -> None:
            if stat.S_ISREG(os.fstat(file).st_mode) and next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            flush(file)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as raised:
            export(results, folder, kind, images=True)
        named.add(Path(raised.value.filename).relative_to(folder))
        assert not folder.exists()
    assert named == whole


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_files_are_known_before_anything_is_found(results, tmp_path, kind, copied) -> None:
    """So that a command can refuse before it looks at an image."""
    export(results, tmp_path / "out", kind, images=copied)
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert sorted(written - {NOTE}) == sorted(files_of([result.image for result in results], kind, copied=copied))


@pytest.mark.parametrize("kind", KINDS)
def test_marks_made_by_hand_stay(results, tmp_path, kind) -> None:
    images = [result.image for result in results]
    for name in files_of(images, kind):
        for text in ("by hand", ""):  # an empty file of labels says that there is no object
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            with pytest.raises(UserError, match="was not written by an earlier run") as raised:
                export(results, tmp_path / "set", kind)
            assert str(path) in str(raised.value) and path.read_text() == text
            assert [other for other in (tmp_path / "set").rglob("*") if other.is_file()] == [path]
            path.unlink()
    assert export(results, tmp_path / "set", kind) == export(results, tmp_path / "set", kind)


def test_photographs_are_not_replaced_by_copies(results, tmp_path) -> None:
    photo = tmp_path / "set/images/a.png"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"another photograph of this name")
    with pytest.raises(UserError, match=r"images/a\.png: was not written"):
        export(results, tmp_path / "set", "yolo", images=True)
    assert photo.read_bytes() == b"another photograph of this name" and not (tmp_path / "set/labels").exists()


@pytest.mark.parametrize(("kind", "left"), [("yolo", "labels/a.txt"), ("voc", "Annotations/a.xml")])
def test_labels_of_other_images_are_not_taken_into_a_set(results, tmp_path, kind, left) -> None:
    """They may be of other classes: numbers in a label file are those of one list."""
    export(results[:1], tmp_path, kind)
    with pytest.raises(UserError, match=rf"{left}: is of an earlier run on other images"):
        export(results[1:], tmp_path, kind)
    assert (tmp_path / left).is_file() and len(list((tmp_path / left).parent.rglob("*.*"))) == 1
    export(results, tmp_path, kind)  # with that image among them
    (tmp_path / left).unlink()


def test_voc_names_no_other_maker(results, tmp_path) -> None:
    export(results, tmp_path, "voc")
    assert xml.parse(tmp_path / "Annotations/a.xml").findtext("source/database") == "repmet"
