"""The protocol "own data": which boxes are marks, which images are searched, and what the figures are."""

from pathlib import Path

import numpy as np
import pytest
from parts import CLASSES, parts, record
from PIL import Image

from repmet.detection.episodes.marks import draw_marks
from repmet.detection.episodes.shot_lists import draw_lists
from repmet.detection.protocols.own_data import OwnData, class_names, figures_of, over_draws, read_own_data, table
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.rule import FewShotRule


@pytest.fixture
def data() -> OwnData:
    return parts()


def test_marks_are_those_of_shot_lists_and_may_be_fewer(data) -> None:
    records = data.train
    (listed,) = draw_lists(records, CLASSES, 3, [7])
    marks = draw_marks(records, CLASSES, 3, 7)
    assert marks == [listed.support[name] for name in CLASSES]
    assert [m[:1] for m in marks] == draw_marks(records[::-1], CLASSES, 1, 7)
    assert [len(m) for m in draw_marks(records, CLASSES, 9, 7)] == [4, 4]
    with pytest.raises(ValueError, match="washer: no box"):
        draw_marks(records, ["washer"], 1, 0)


def test_figures_by_hand() -> None:
    queries = [record("a", [("nut", [0, 0, 10, 10]), ("nut", [20, 0, 30, 10])]), record("b", [("bolt", [0, 0, 10, 10])])]
    first = Detections(
        np.array([[0, 0, 10, 10], [50, 50, 60, 60], [20, 0, 30, 10]]), np.array([0.9, 0.8, 0.7]), np.array([1, 1, 1])
    )
    second = Detections(np.array([[50, 50, 60, 60.0]]), np.array([0.6]), np.array([0]))
    figures = figures_of([first, second], queries, CLASSES)
    assert figures["AP50"] == pytest.approx((0.5 + 0.5 * 2 / 3 + 0) / 2)  # nuts: 1/1 then 2/3; no bolt
    # half of the nuts cost no wrong find, the bolt is never found: its one wrong find counts; two images
    assert figures["false_finds"] == 0.5


def test_the_protocol_finds_what_is_plain_to_see_and_compares_methods(data) -> None:
    rows = over_draws(data, ["logistic", "baseline_roi"], FewShotRule(support_iou=None), [1, 2], [0, 1, 2])
    assert [(r["method"], r["marks"]) for r in rows] == [(m, k) for m in ("logistic", "baseline_roi") for k in (1, 2)]
    assert all(r["AP50"]["mean"] == 1.0 and len(r["AP50"]["values"]) == 3 for r in rows[:2])
    assert "AP50_above_first" not in rows[0]
    difference = rows[2]["AP50_above_first"]
    assert difference["mean"] == pytest.approx(rows[2]["AP50"]["mean"] - 1.0)
    assert "logistic" in table(rows) and "100.0" in table(rows)


def write_set(root: Path, lists: dict[str, list[str]]) -> Path:
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for name in {i for ids in lists.values() for i in ids}:
        Image.new("RGB", (64, 64)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(
            "<annotation><size><width>64</width><height>64</height><depth>3</depth></size><object><name>nut</name>"
            "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"
        )
    for name, ids in lists.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(ids) + "\n")
    return root


def test_an_image_that_may_be_marked_is_never_searched(tmp_path, capsys) -> None:
    data = read_own_data(write_set(tmp_path / "a", {"train": ["x", "y"], "test": ["y", "z"]}))
    assert [r.id for r in data.tested] == ["z"] and [r.id for r in data.train] == ["x", "y"]
    assert "1 images of test are in train too" in capsys.readouterr().out
    with pytest.raises(ValueError, match="every image of test is in train too"):
        read_own_data(write_set(tmp_path / "b", {"train": ["x", "y"], "test": ["y"]}))


def test_a_class_of_the_test_list_alone_is_marked_there_and_those_images_are_not_searched() -> None:
    test = [record(f"q{k}", [("nut", [10, 10, 40, 40]), ("nut", [50, 50, 80, 80])]) for k in range(5)]
    data = OwnData("parts", ("nut",), [record("t", [("bolt", [0, 0, 9, 9])])], test, {})
    for seed in range(20):
        (few,), (many,) = data.marks(1, seed), data.marks(9, seed)
        assert many[:1] == few and len(many) == 4  # both boxes of two of five images
        assert len(data.queries([few])) == 4 and len(data.queries([many])) == 3
        assert not {i for i, _ in many} & {r.id for r in data.queries([many])}


def test_lists_without_a_common_class_are_measured_and_what_is_not_is_said(tmp_path, capsys) -> None:
    root = write_set(tmp_path / "a", {"train": ["x"], "test": ["y", "z"]})
    xml = root / "Annotations" / "x.xml"
    xml.write_text(xml.read_text().replace("nut", "bolt"))
    data = read_own_data(root)
    said = capsys.readouterr().out
    assert data.classes == ("nut",) and "train holds no nut" in said and "bolt: not measured" in said
    (root / "ImageSets" / "Main" / "test.txt").write_text("y\n")
    with pytest.raises(ValueError, match="no class has plain boxes in both"):
        read_own_data(root)


def test_some_classes_alone_by_name_or_by_a_file_in_the_folder(tmp_path, capsys) -> None:
    root = write_set(tmp_path / "a", {"train": ["w", "x"], "test": ["y", "z"]})
    for name in ("x", "z"):
        xml = root / "Annotations" / f"{name}.xml"
        xml.write_text(xml.read_text().replace("nut", "bolt"))
    (root / "classes_novel.txt").write_text("bolt\n")
    assert read_own_data(root).classes == ("bolt", "nut")
    for asked in ("bolt", "classes_novel.txt"):
        data = read_own_data(root, classes=class_names(asked, root))
        assert data.classes == ("bolt",) and [r.id for r in data.tested] == ["y", "z"]
    assert "not measured" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="screw cannot be measured; there are bolt, nut"):
        read_own_data(root, classes=class_names("nut, screw", root))
