"""`label`: what is sure is a box, what is in doubt is ignored, and the set is one that readers and trainings take."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from repmet import label as command
from repmet.data.readers.annotated_folder import read_images
from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.label import labels
from repmet.detection.results import Detections

CLASSES = ("nut", "washer")


def detections(*rows: tuple[str, float, tuple[float, ...]]) -> Detections:
    (image,) = image_inputs(Image.new("RGB", (200, 200)))
    return Detections(
        boxes=np.array([box for *_, box in rows]),
        scores=np.array([score for _, score, _ in rows]),
        labels=np.array([CLASSES.index(name) for name, *_ in rows]),
        classes=CLASSES,
        image=image,
        size=(200, 200),
        nearest=np.full(len(rows), -1),
        supports=np.zeros((1, 4, 4, 3), np.uint8),
        picture=image.open(),
    )


def test_what_is_kept_of_an_image():
    near, far, there = (10, 10, 60, 60), (12, 10, 60, 60), (100, 100, 150, 150)
    image = detections(
        ("nut", 0.95, near), ("washer", 0.92, far), ("nut", 0.6, there), ("washer", 0.4, there), ("nut", 0.3, near)
    )
    (kept,) = labels([image], {"nut": 0.5, "washer": 0.3}, 0.9)
    assert kept.names == ["nut", "nut"] and kept.scores == pytest.approx([0.95, 0.6])
    assert kept.picture is None and kept.supports is None  # thousands of images are labelled at once
    (kept,) = labels([image], {"nut": 0.5, "washer": 0.3}, 0.25)  # to accept less than the threshold is a person's right
    assert kept.scores == pytest.approx([0.95, 0.6, 0.3])
    (kept,) = labels([detections()], {"nut": 0.5, "washer": 0.3}, 0.9)
    assert len(kept) == 0


def test_two_of_one_class_may_overlap():
    image = detections(("nut", 0.95, (10, 10, 60, 60)), ("nut", 0.92, (12, 10, 60, 60)))
    (kept,) = labels([image], {"nut": 0.5, "washer": 0.5}, 0.9)
    assert len(kept) == 2


@pytest.fixture
def labelled(glyph_run, support, photos, taught, tmp_path, capsys):
    """Labels the photos in a format; half of what is found is sure."""
    scores = np.concatenate([f.scores for f in taught.detect(photos, min_score=0.0)])
    accept = float(np.quantile(scores, 0.7))

    def run(kind: str):
        out = tmp_path / kind
        words = ["--support", support, "--images", photos, "--out", out, "--accept", accept, "--format", kind]
        assert command.main([str(glyph_run), *map(str, words)]) == 0
        expected = {f.image.path.name: f for f in taught.detect(photos, min_score=0.0)}
        return out, labels(expected.values(), taught.thresholds, accept), accept, capsys.readouterr().out

    return run


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_a_reader_gets_objects_and_places_in_doubt(labelled, kind):
    out, expected, accept, said = labelled(kind)
    records = {record.path.name: record for record in read_images(out, "train" if kind == "voc" else "all")}
    assert len(records) == 4
    sure = doubtful = 0
    for image in expected:
        record = records[image.image.path.name]
        assert list(record.names) == image.names
        assert record.difficult.tolist() == (image.scores < accept).tolist()
        np.testing.assert_allclose(record.boxes, image.boxes, atol=1.51 if kind == "voc" else 0.02)
        assert (record.width, record.height) == image.size
        sure, doubtful = sure + int((image.scores >= accept).sum()), doubtful + int((image.scores < accept).sum())
    assert sure and doubtful
    assert f"{sure} boxes in 4 images" in said and re.search(r"\d+ accepted, \d+ in doubt", said)
    if kind == "voc":
        assert (out / "classes_base.txt").read_text().split() == list(image.classes)


def test_yolo_has_what_is_sure_alone(labelled):
    out, expected, accept, _ = labelled("yolo")
    records = {record.path.name: record for record in read_images(out)}
    for image in expected:
        assert list(records[image.image.path.name].names) == image.above(accept).names


def test_the_categories_of_a_class_without_any_box_are_there(labelled):
    out, *_ = labelled("coco")
    content = json.loads((out / "annotations.json").read_text())
    assert len(content["categories"]) == len({row["name"] for row in content["categories"]}) >= 2
    assert (out / "images" / content["images"][0]["file_name"]).is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--accept", "0"], "--accept is in (0, 1], not 0"),
        (["--accept", "1.5"], "--accept is in (0, 1], not 1.5"),
        (["--out", "{full}"], "is not empty; name a new folder by --out"),
        (["--images", "{full}/clip.mp4"], "a data set is made of images"),
        (["--images", "{full}/none.jpg"], "no such image or folder"),
    ],
)
def test_what_does_not_go_is_said_before_a_detector_is_opened(words, message, support, photos, tmp_path, capsys):
    full = tmp_path / "full"
    full.mkdir()
    (full / "clip.mp4").write_text("x")
    defaults = {"--support": support, "--images": photos, "--out": tmp_path / "out"}
    options = {**defaults, words[0]: words[1].format(full=full)}
    assert command.main(["no_such_run", *(str(word) for pair in options.items() for word in pair)]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_nothing_accepted_is_said(glyph_run, support, photos, tmp_path, capsys):
    words = ["--support", support, "--images", photos, "--out", tmp_path / "out", "--accept", 1]
    assert command.main([str(glyph_run), *map(str, words)]) == 1
    assert "nothing has a score of 1, so no image has a box: mark more, or lower --accept" in capsys.readouterr().err


def test_images_that_cannot_be_read_are_left_out(glyph_run, support, photos, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no picture")
    words = ["--support", support, "--images", photos, tmp_path / "bad.png", "--out", tmp_path / "out", "--accept", 0.01]
    assert command.main([str(glyph_run), *map(str, words)]) == 1
    assert "passed over: " in capsys.readouterr().err
    assert len(read_images(tmp_path / "out")) == 4


def test_doubt_is_written_by_export_too(tmp_path):
    from repmet import export

    image = replace(detections(("nut", 0.95, (10, 10, 60, 60)), ("nut", 0.4, (100, 100, 150, 150))))
    assert export([image], tmp_path / "a", "csv", sure=0.5).boxes == 1
    assert (tmp_path / "a/detections.csv").read_text().count("nut") == 1
    content = json.loads(export([image], tmp_path / "b", "coco", sure=0.5).file.read_text())
    assert [row["iscrowd"] for row in content["annotations"]] == [0, 1]
