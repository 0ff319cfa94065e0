"""A mark that is there twice teaches once, in every layout of supports; trainings and evaluations read it as it is."""

import json

import numpy as np
import pytest
from PIL import Image

from repmet.data.files import walk
from repmet.data.readers.annotated_folder import read_images
from repmet.detection.episodes.marked_images import read_marks
from repmet.detection.episodes.support_set import read_support
from tests.data.readers.devkits import thing, xml

SIZE = "<size><width>100</width><height>80</height><depth/></size>"


def voc(root) -> None:
    things = [thing("nut", 11, 11, 50, 50), thing("nut", 11, 11, 50, 50), thing("bolt", 11, 11, 50, 50)]
    (root / "a.xml").write_text(xml(*things, thing("nut", 12, 11, 50, 50), size=SIZE))


def coco(root) -> None:
    boxes = [(1, 10, 10), (1, 10, 10.2), (2, 10, 10), (1, 11, 10)]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "nut"}, {"id": 2, "name": "bolt"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": c, "bbox": [x, y, 40, 40]} for i, (c, x, y) in enumerate(boxes)
        ],
    }
    (root / "a.json").write_text(json.dumps(content))


def yolo(root) -> None:
    (root / "data.yaml").write_text("names: [nut, bolt]\ntrain: .\n")
    (root / "a.txt").write_text("0 0.3 0.375 0.4 0.5\n0 0.300001 0.375 0.4 0.5\n1 0.3 0.375 0.4 0.5\n0 0.31 0.375 0.4 0.5\n")


@pytest.mark.parametrize("write", [voc, coco, yolo])
def test_it_counts_once_and_one_line_says_so(tmp_path, caplog, write) -> None:
    Image.new("RGB", (100, 80)).save(tmp_path / "a.png")
    write(tmp_path)
    walk.say_once.cache_clear()
    (record,) = read_support(tmp_path, tmp_path / "scratch")
    assert record.names == ("nut", "bolt", "nut") and record.boxes.shape == (3, 4) and len(record.difficult) == 3
    said = f"{tmp_path}: 1 mark is there twice, the same box and class, the first in a; each box counts once"
    assert caplog.messages.count(said) == 1
    (whole,) = read_images(tmp_path)
    assert len(whole.names) == 4


def test_marks_from_python(caplog) -> None:
    image = Image.fromarray(np.zeros((80, 100, 3), np.uint8))
    walk.say_once.cache_clear()
    box = (10, 10, 50, 50)
    (record,) = read_marks(
        {"nut": [(image, box), (image, box), (image, box), (image, (60, 10, 90, 50))], "bolt": [(image, box)]}
    )
    assert record.names == ("nut", "nut", "bolt")
    assert "the supports: 2 marks are there twice, the same box and class, the first in support image 1" in caplog.text
