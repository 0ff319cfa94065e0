"""Detections as people take them on: names, slices, filters, pictures, and files that other tools read back."""

import contextlib
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from repmet.data.readers.image_inputs import image_inputs
from repmet.data.readers.voc_annotation import read_annotation
from repmet.detection.formats import coco
from repmet.detection.results import Detections

BOXES = [[10, 20, 60, 80], [100.5, 30.25, 150, 70], [0, 0, 20, 10]]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (200, 100), (90, 90, 90)).save(tmp_path / "a photo.png")
    return tmp_path / "a photo.png"


def detections(image, size=(200, 100), **changes) -> Detections:
    (opened,) = image_inputs(image)
    values = {
        "boxes": BOXES,
        "scores": [0.9, 0.5, 0.25],
        "labels": [1, 0, 1],
        "classes": ("nut", "wing nut"),
        "nearest": np.array([2, 0, 1]),
        "size": size,
    }
    return Detections(image=opened, **values | changes)


@pytest.fixture
def found(photo) -> Detections:
    return detections(photo)


def test_every_detection_has_its_name(found, photo) -> None:
    assert len(found) == 3 and found.names == ["wing nut", "nut", "wing nut"]
    assert found.boxes.dtype == found.scores.dtype == np.float32 and found.labels.dtype == np.int64
    assert found.image.path == photo and found.open().size == (200, 100)
    assert repr(found) == f"<{photo}: 2 wing nut, 1 nut>"


def test_parts_are_detections_of_the_same_image(found) -> None:
    for part, rows in (
        (found[:2], [0, 1]),
        (found[-1], [2]),
        (found[found.scores < 0.6], [1, 2]),
        (found[[2, 0]], [2, 0]),
        (found.filter(score=0.5), [0, 1]),
        (found.filter(classes="wing nut"), [0, 2]),
        (found.filter(score=0.3, classes=["wing nut"]), [0]),
        (found.filter(classes=[]), []),
    ):
        assert isinstance(part, Detections) and part.image is found.image and part.classes == found.classes
        np.testing.assert_array_equal(part.boxes, np.array(BOXES, np.float32)[rows].reshape(-1, 4))
        np.testing.assert_array_equal(part.nearest, found.nearest[rows])
        assert part.names == [found.names[k] for k in rows] and part.scores.tolist() == found.scores[rows].tolist()
    assert found[:] == found and found[:2] != found
    with pytest.raises(IndexError):
        found[3]
    with pytest.raises(ValueError, match="no class 'nail' was looked for; there are: nut, wing nut"):
        found.filter(classes="nail")
    with pytest.raises(ValueError, match=r"in \[0, 1\], not 50"):
        found.filter(score=50)


def test_best_first_keeps_the_order_of_equals(photo) -> None:
    mixed = detections(photo, scores=[0.5, 0.9, 0.5])
    assert mixed.best_first().nearest.tolist() == [0, 2, 1]


def test_arrays_that_do_not_belong_together_are_refused(photo) -> None:
    with pytest.raises(ValueError, match=r"scores \(n,\) and labels \(n,\), not \(3, 4\), \(2,\) and \(3,\)"):
        detections(photo, scores=[0.1, 0.2])


def test_a_plot_shows_boxes_and_supports(found, photo) -> None:
    plain = np.asarray(found.plot())
    assert plain.shape == (100, 200, 3) and (plain != 90).any(-1).sum() > 300
    assert (plain[79, 15:55] == plain[79, 15]).all() and (plain[79, 15] != 90).any(), "the lower edge of the first box"
    nothing = np.asarray(found.plot(min_score=0.95))
    assert (nothing == 90).all()
    supports = np.full((3, 16, 16, 3), 7, np.uint8)
    with_band = np.asarray(detections(photo, supports=supports).plot())
    assert with_band.shape[0] > 150 and (with_band == 7).all(-1).sum() > 3 * 2000


def test_an_image_in_memory_is_drawn_as_it_is() -> None:
    picture = Image.new("RGB", (64, 48), (1, 2, 3))
    found = detections(picture, size=picture.size, picture=picture)
    assert found.open() is picture and found[:1].plot().size == (64, 48)


def test_coco_is_read_by_pycocotools(found, tmp_path) -> None:
    empty = found[:0]
    (tmp_path / "coco.json").write_text(json.dumps(coco([found, empty])))
    with contextlib.redirect_stdout(io.StringIO()):
        read = COCO(str(tmp_path / "coco.json"))
    assert len(read.imgs) == 2 and [read.cats[k]["name"] for k in (1, 2)] == ["nut", "wing nut"]
    rows = read.imgToAnns[1]
    assert [read.cats[row["category_id"]]["name"] for row in rows] == found.names
    np.testing.assert_allclose([row["score"] for row in rows], found.scores)
    boxes = np.array([row["bbox"] for row in rows])
    np.testing.assert_allclose(np.c_[boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], found.boxes, atol=0.01)
    assert read.imgToAnns[2] == []
    with contextlib.redirect_stdout(io.StringIO()):
        assert len(read.loadRes(found.to_coco()["annotations"]).anns) == 3


def test_yolo_lines_are_shares_of_the_image(found) -> None:
    """By hand: centre and size of a box of 200 x 100 pixels."""
    rows = [line.split() for line in found.to_yolo().splitlines()]
    for (label, *sides), box, k in zip(rows, found.boxes, found.labels, strict=True):
        x1, y1, x2, y2 = box / (200, 100, 200, 100)
        assert int(label) == k
        np.testing.assert_allclose([float(s) for s in sides], [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], atol=1e-5)
    scored = [line.split() for line in found.to_yolo(scores=True).splitlines()]
    assert [row[:5] for row in scored] == rows and [float(row[5]) for row in scored] == [0.9, 0.5, 0.25]
    assert found[:0].to_yolo() == ""


def test_voc_is_read_by_our_own_reader(found, photo) -> None:
    annotation = photo.with_suffix(".xml")
    annotation.write_text(found.to_voc(), encoding="utf-8")
    record, problems = read_annotation(annotation, photo)
    assert problems == [] and (record.width, record.height) == (200, 100)
    assert list(record.names) == found.names
    np.testing.assert_allclose(record.boxes, found.boxes, atol=1.01)  # pixels are whole, and the last one is inside


def test_supervision_has_names_and_scores(found) -> None:
    theirs = found.to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, found.boxes)
    np.testing.assert_array_equal(theirs.confidence, found.scores)
    assert theirs.class_id.tolist() == [1, 0, 1] and theirs.data["class_name"].tolist() == found.names
    assert len(found[:0].to_supervision()) == 0


def test_a_table_of_rows(found, photo) -> None:
    pandas = pytest.importorskip("pandas")
    table = found.to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["image", "class", "score", "x1", "y1", "x2", "y2"]
    assert table["class"].tolist() == found.names and set(table["image"]) == {str(photo)}
    np.testing.assert_allclose(table[["x1", "y1", "x2", "y2"]].to_numpy(), found.boxes)
    assert len(found[:0].to_dataframe()) == 0


def test_the_name_of_a_file_says_what_is_written(found, tmp_path) -> None:
    folder = tmp_path / "new" / "folder"
    assert json.loads(found.save(folder / "a.json").read_text()) == found.to_coco()
    assert found.save(folder / "a.txt").read_text() == found.to_yolo(scores=True)
    assert found.save(folder / "a.XML").read_text() == found.to_voc()
    rows = list(csv.reader(found.save(folder / "a.csv").read_text().splitlines()))
    assert rows[0][:3] == ["image", "class", "score"] and [row[1] for row in rows[1:]] == found.names
    for name, kind in (("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.webp", "WEBP")):
        with Image.open(found.save(folder / name)) as picture:
            assert picture.format == kind and picture.size == found.plot().size
    with pytest.raises(ValueError, match=r"a\.docx: detections are saved as a picture, \.json"):
        found.save(folder / "a.docx")
    assert len(list(folder.iterdir())) == 7


def test_the_public_name_needs_no_torch() -> None:
    program = (
        "import sys; from repmet import Detections; assert not {'torch', 'mmdet', 'supervision', 'cv2'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
