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
def result(photo) -> Detections:
    return detections(photo)


def test_every_detection_has_its_name(result, photo) -> None:
    assert len(result) == 3 and result.names == ["wing nut", "nut", "wing nut"]
    assert result.boxes.dtype == result.scores.dtype == np.float32 and result.labels.dtype == np.int64
    assert result.image.path == photo and result.open().size == (200, 100)
    assert repr(result) == f"<{photo}: 2 wing nut, 1 nut>"


def test_parts_are_detections_of_the_same_image(result) -> None:
    for part, rows in (
        (result[:2], [0, 1]),
        (result[-1], [2]),
        (result[result.scores < 0.6], [1, 2]),
        (result[[2, 0]], [2, 0]),
        (result.filter(score=0.5), [0, 1]),
        (result.filter(classes="wing nut"), [0, 2]),
        (result.filter(score=0.3, classes=["wing nut"]), [0]),
        (result.filter(classes=[]), []),
    ):
        assert isinstance(part, Detections) and part.image is result.image and part.classes == result.classes
        np.testing.assert_array_equal(part.boxes, np.array(BOXES, np.float32)[rows].reshape(-1, 4))
        np.testing.assert_array_equal(part.nearest, result.nearest[rows])
        assert part.names == [result.names[k] for k in rows] and part.scores.tolist() == result.scores[rows].tolist()
    assert result[:] == result and result[:2] != result
    with pytest.raises(IndexError):
        result[3]
    with pytest.raises(ValueError, match="no class 'nail' was looked for; there are: nut, wing nut"):
        result.filter(classes="nail")
    for score, said in ((50, "50"), ("a", "'a'"), (None, "None"), (float("nan"), "nan")):
        with pytest.raises(ValueError, match=rf"in \[0, 1\], not {said}"):
            result.filter(score=score)


def test_the_image_itself_is_not_replaced(result, photo, tmp_path) -> None:
    before = photo.read_bytes()
    (tmp_path / "link.png").symlink_to(photo)
    for path in (photo, tmp_path / "link.png", f"{photo.parent}/./{photo.name}"):
        with pytest.raises(ValueError, match="is the image that was looked at"):
            result.save(path)
    assert photo.read_bytes() == before


def test_best_first_keeps_the_order_of_equals(photo) -> None:
    mixed = detections(photo, scores=[0.5, 0.9, 0.5])
    assert mixed.best_first().nearest.tolist() == [0, 2, 1]


def test_arrays_that_do_not_belong_together_are_refused(photo) -> None:
    with pytest.raises(ValueError, match=r"scores \(n,\) and labels \(n,\), not \(3, 4\), \(2,\) and \(3,\)"):
        detections(photo, scores=[0.1, 0.2])


def test_a_plot_shows_boxes_and_supports(result, photo) -> None:
    plain = np.asarray(result.plot())
    assert plain.shape == (100, 200, 3) and (plain != 90).any(-1).sum() > 300
    assert (plain[79, 15:55] == plain[79, 15]).all() and (plain[79, 15] != 90).any(), "the lower edge of the first box"
    nothing = np.asarray(result.plot(min_score=0.95))
    assert (nothing == 90).all()
    supports = np.full((3, 16, 16, 3), 7, np.uint8)
    with_band = np.asarray(detections(photo, supports=supports).plot())
    assert with_band.shape[0] > 150 and (with_band == 7).all(-1).sum() > 3 * 2000


def test_an_image_in_memory_is_drawn_as_it_is() -> None:
    picture = Image.new("RGB", (64, 48), (1, 2, 3))
    result = detections(picture, size=picture.size, picture=picture)
    assert result.open() is picture and result[:1].plot().size == (64, 48)


def test_coco_is_read_by_pycocotools(result, tmp_path) -> None:
    empty = result[:0]
    (tmp_path / "coco.json").write_text(json.dumps(coco([result, empty])))
    with contextlib.redirect_stdout(io.StringIO()):
        read = COCO(str(tmp_path / "coco.json"))
    assert len(read.imgs) == 2 and [read.cats[k]["name"] for k in (1, 2)] == ["nut", "wing nut"]
    rows = read.imgToAnns[1]
    assert [read.cats[row["category_id"]]["name"] for row in rows] == result.names
    np.testing.assert_allclose([row["score"] for row in rows], result.scores)
    boxes = np.array([row["bbox"] for row in rows])
    np.testing.assert_allclose(np.c_[boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], result.boxes, atol=0.01)
    assert read.imgToAnns[2] == []
    with contextlib.redirect_stdout(io.StringIO()):
        assert len(read.loadRes(result.to_coco()["annotations"]).anns) == 3


def test_yolo_lines_are_shares_of_the_image(result) -> None:
    """By hand: centre and size of a box of 200 x 100 pixels."""
    rows = [line.split() for line in result.to_yolo().splitlines()]
    for (label, *sides), box, k in zip(rows, result.boxes, result.labels, strict=True):
        x1, y1, x2, y2 = box / (200, 100, 200, 100)
        assert int(label) == k
        np.testing.assert_allclose([float(s) for s in sides], [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], atol=1e-5)
    scored = [line.split() for line in result.to_yolo(scores=True).splitlines()]
    assert [row[:5] for row in scored] == rows and [float(row[5]) for row in scored] == [0.9, 0.5, 0.25]
    assert result[:0].to_yolo() == ""


def test_voc_is_read_by_our_own_reader(result, photo) -> None:
    annotation = photo.with_suffix(".xml")
    annotation.write_text(result.to_voc(), encoding="utf-8")
    record, problems = read_annotation(annotation, photo)
    assert problems == [] and (record.width, record.height) == (200, 100)
    assert list(record.names) == result.names
    np.testing.assert_allclose(record.boxes, result.boxes, atol=1.01)  # pixels are whole, and the last one is inside


def test_supervision_has_names_and_scores(result) -> None:
    theirs = result.to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, result.boxes)
    np.testing.assert_array_equal(theirs.confidence, result.scores)
    assert theirs.class_id.tolist() == [1, 0, 1] and theirs.data["class_name"].tolist() == result.names
    assert len(result[:0].to_supervision()) == 0


def test_a_table_of_rows(result, photo) -> None:
    pandas = pytest.importorskip("pandas")
    table = result.to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["image", "class", "score", "x1", "y1", "x2", "y2"]
    assert table["class"].tolist() == result.names and set(table["image"]) == {str(photo)}
    np.testing.assert_allclose(table[["x1", "y1", "x2", "y2"]].to_numpy(), result.boxes)
    assert len(result[:0].to_dataframe()) == 0


def test_the_name_of_a_file_says_what_is_written(result, tmp_path) -> None:
    folder = tmp_path / "new" / "folder"
    assert json.loads(result.save(folder / "a.json").read_text()) == result.to_coco()
    assert result.save(folder / "a.txt").read_text() == result.to_yolo(scores=True)
    assert result.save(folder / "a.XML").read_text() == result.to_voc()
    rows = list(csv.reader(result.save(folder / "a.csv").read_text().splitlines()))
    assert rows[0][:3] == ["image", "class", "score"] and [row[1] for row in rows[1:]] == result.names
    for name, kind in (("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.webp", "WEBP")):
        with Image.open(result.save(folder / name)) as picture:
            assert picture.format == kind and picture.size == result.plot().size
    with pytest.raises(ValueError, match=r"a\.docx: detections are saved as a picture, \.json"):
        result.save(folder / "a.docx")
    assert len(list(folder.iterdir())) == 7


def test_the_public_name_needs_no_torch() -> None:
    program = (
        "import sys; from repmet import Detections; assert not {'torch', 'mmdet', 'supervision', 'cv2'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
