"""Glyph scenes on disk: a VOC devkit whose sets keep to their classes, the same for the same parameters."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import cv2
import pytest

from repmet.data.generated import glyph_scenes
from repmet.data.generated.glyph_scenes import IMAGE_SETS, lay_out

SMALL = {"base_classes": 8, "novel_classes": 4, "counts": dict.fromkeys(IMAGE_SETS, 12)}


@pytest.fixture(scope="module")
def devkit(tmp_path_factory) -> Path:
    return lay_out(tmp_path_factory.mktemp("scenes") / "glyphs", **SMALL)


def image_ids(root: Path, image_set: str) -> list[str]:
    return (root / "ImageSets" / "Main" / f"{image_set}.txt").read_text().split()


def annotated(root: Path, image_id: str) -> list[tuple[str, list[int]]]:
    tree = ElementTree.parse(root / "Annotations" / f"{image_id}.xml")
    return [
        (o.findtext("name"), [int(o.findtext(f"bndbox/{k}")) for k in ("xmin", "ymin", "xmax", "ymax")])
        for o in tree.iter("object")
    ]


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_sets_are_disjoint_and_keep_to_their_classes(devkit):
    base, novel = ((devkit / f"classes_{kind}.txt").read_text().split() for kind in ("base", "novel"))
    assert len(base) == 8 and len(novel) == 4 and not set(base) & set(novel)
    seen: set[str] = set()
    for image_set in IMAGE_SETS:
        ids = image_ids(devkit, image_set)
        assert len(ids) == 12 and not seen & set(ids)
        seen |= set(ids)
        names = {name for i in ids for name, _ in annotated(devkit, i)}
        assert names == set(novel if image_set.startswith("novel") else base)


def test_every_character_has_two_distractors_of_other_classes(devkit):
    for image_set in IMAGE_SETS:
        for image_id in image_ids(devkit, image_set):
            names = [name for name, _ in annotated(devkit, image_id)]
            assert 3 <= len(names) <= 5
            assert all(sum(other != name for other in names) >= 2 for name in names)


def test_boxes_count_from_one_and_lie_in_the_image(devkit):
    for image_id in image_ids(devkit, "train"):
        image = cv2.imread(str(devkit / "JPEGImages" / f"{image_id}.jpg"))
        assert image.shape == (192, 192, 3)
        for _, (x1, y1, x2, y2) in annotated(devkit, image_id):
            assert 1 <= x1 < x2 <= 192 and 1 <= y1 < y2 <= 192
            assert 20 <= max(x2 - x1, y2 - y1) + 1 <= 64


def test_classes_are_balanced():
    counted = Counter()
    hands = glyph_scenes._deal(list(range(20)), (0, 0))
    for _ in range(300):
        hand = next(hands)
        assert len(set(hand)) >= 3
        counted.update(set(hand))
    assert min(counted.values()) >= 50 and max(counted.values()) <= 70  # images of a class, of 300 x about 4 / 20


def test_default_novel_classes_have_support_and_query_images():
    counts = glyph_scenes.Parameters().counts
    for number, image_set in enumerate(IMAGE_SETS[2:]):
        hands = glyph_scenes._deal(list(range(20)), (0, number))
        counted = Counter(c for _ in range(counts[image_set]) for c in set(next(hands)))
        assert min(counted.values()) >= 20


def test_same_parameters_same_files_on_any_number_of_workers(devkit, tmp_path):
    assert files(lay_out(tmp_path / "again", workers=2, **SMALL)) == files(devkit)
    other = files(lay_out(tmp_path / "other", seed=1, **SMALL))
    assert other["JPEGImages/train_00000.jpg"] != files(devkit)["JPEGImages/train_00000.jpg"]


def test_novel_scenes_do_not_depend_on_the_base_classes_nor_on_the_counts(devkit, tmp_path):
    counts = {**SMALL["counts"], "train": 5, "novel_query": 14}
    root = lay_out(tmp_path / "fewer", base_classes=5, novel_classes=4, counts=counts)
    for image_id in image_ids(devkit, "novel_query"):
        for name in (f"JPEGImages/{image_id}.jpg", f"Annotations/{image_id}.xml"):
            assert (root / name).read_bytes() == (devkit / name).read_bytes()


def test_what_is_there_is_kept_or_refused(devkit, tmp_path):
    marker = devkit / "JPEGImages" / "train_00000.jpg"
    before = marker.stat().st_mtime_ns
    lay_out(devkit, **SMALL)
    assert marker.stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match=r"other parameters \(image_size\).*delete it or give another folder"):
        lay_out(devkit, image_size=200, **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="holds no glyph scenes"):
        lay_out(tmp_path / "mine", **SMALL)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_nothing_is_left_under_the_name_when_it_fails_on_the_way(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(glyph_scenes.cv2, "imwrite", full)
    with pytest.raises(OSError, match="No space left"):
        lay_out(tmp_path / "glyphs", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"image_size": 100}, "image_size=100"),
        ({"novel_classes": 2}, "novel_support: 2 classes"),
        ({"counts": {"val": 3}}, "val: 3 scenes cannot show 80 classes"),
        ({"counts": {"test": 3}}, "unknown image set"),
    ],
)
def test_bad_parameters(tmp_path, parameters, message):
    with pytest.raises(ValueError, match=message):
        lay_out(tmp_path / "glyphs", **parameters)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path):
    def run(*more):
        sizes = [word for name in IMAGE_SETS for word in (f"--{name.replace('_', '-')}", "6")]
        return subprocess.run(
            [sys.executable, "-m", "data.generated.glyph_scenes", "--root", str(tmp_path / "g"), "--base-classes", "6",
             "--novel-classes", "4", *sizes, *more], capture_output=True, text=True,
        )  # fmt: skip

    first = run()
    assert first.returncode == 0 and "train 6 images" in first.stdout, first.stderr
    assert json.loads((tmp_path / "g" / "glyph_scenes.json").read_text())["base_classes"] == 6
    refused = run("--seed", "3")
    assert refused.returncode == 2 and "other parameters (seed)" in refused.stderr and "Traceback" not in refused.stderr
