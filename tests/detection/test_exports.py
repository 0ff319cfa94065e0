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
from found_in_photos import BOXES, CLASSES, found_in_photos
from PIL import Image
from pycocotools.coco import COCO

from repmet import Detections, export
from repmet.data.readers.annotated_folder import read_images
from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.exports import KINDS, file_names


@pytest.fixture
def results(tmp_path: Path) -> list[Detections]:
    return found_in_photos(tmp_path / "photos")


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


def test_voc_names_no_other_maker(results, tmp_path) -> None:
    export(results, tmp_path, "voc")
    assert xml.parse(tmp_path / "Annotations/a.xml").findtext("source/database") == "repmet"
