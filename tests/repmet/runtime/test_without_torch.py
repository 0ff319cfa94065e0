"""The exported detector gives what the one in torch gives, and where torch cannot be imported."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exported_photos import SIZES, marks, scenes

from repmet.runtime import FewShotDetector

ROOT = Path(__file__).parents[3]
SCORES = 1e-4
PROGRAM = """
import importlib.abc, json, sys

class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "mmengine", "mmcv", "mmdet", "timm", "cv2"}:
            raise ImportError(f"{name} is not to be had")

sys.meta_path.insert(0, NoTorch())
folder, pictures, out = sys.argv[1:]
marks = {name: [tuple(pair) for pair in pairs] for name, pairs in json.load(open(f"{pictures}/marks.json")).items()}
from repmet.runtime import FewShotDetector
detector = FewShotDetector(folder, threads=1)
objects = detector.detect(f"{pictures}/2.png", min_score=0.3)
assert detector.classes == ("object",) and len(objects), objects
detector.learn(marks)
first = detector.detect(f"{pictures}/3.png", min_score=0)
detector.add("c", [(f"{pictures}/2.png", marks["a"][0][1])]).accept(f"{pictures}/3.png", first[0].boxes[0], "a")
detector.reject(f"{pictures}/2.png", first[0].boxes[0], "b").rename("c", "d").remove("b").undo()
assert detector.classes == ("a", "b", "d")
for _ in range(4):
    detector.undo()
detector.save(f"{out}/classes.pth")
again = FewShotDetector(folder, threads=1).load(f"{out}/classes.pth")
results = [again.detect(f"{pictures}/{k}.png", min_score=0) for k in range(4)]
assert (results[3].scores == first.scores).all() and (results[3].nearest == first.nearest).all()
results[0].save(f"{out}/picture.png")
results[0].save(f"{out}/coco.json")
shown = [{"boxes": f.boxes.tolist(), "scores": f.scores.tolist(), "labels": f.labels.tolist()} for f in results]
print(json.dumps({"found": shown, "thresholds": again.thresholds}))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures with marks of two classes."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(scenes()):
        Image.fromarray(image).save(folder / f"{number}.png")
    boxes = [marks(number, *size) for number, size in enumerate(SIZES)]
    shown = {"a": [(0, 0), (1, 1), (2, 0)], "b": [(0, 2), (2, 2)]}
    content = {name: [(str(folder / f"{k}.png"), boxes[k][b]) for k, b in pairs] for name, pairs in shown.items()}
    (folder / "marks.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def shown(pictures) -> dict:
    return {name: [tuple(p) for p in pairs] for name, pairs in json.loads((pictures / "marks.json").read_text()).items()}


@pytest.fixture
def torchs(shown):
    from repmet.detection.few_shot_detector import FewShotDetector as InTorch

    return InTorch().learn(shown)


def same(expected, detections) -> None:
    """Equal detections, whatever the order of equal scores; those that suppression chose otherwise are few."""
    distance = np.abs(expected.boxes[:, None] - detections.boxes[None]).max(-1)
    distance[expected.labels[:, None] != detections.labels[None]] = np.inf
    nearest = distance.argmin(1)
    there = distance[np.arange(len(expected)), nearest] < 0.01
    assert len(expected) and np.mean(~there) < 0.05 and abs(len(expected) - len(detections)) < 0.05 * len(expected)
    np.testing.assert_allclose(detections.scores[nearest[there]], expected.scores[there], atol=SCORES)
    assert np.mean(detections.nearest[nearest[there]] == expected.nearest[there]) > 0.95


def everywhere(torchs, ours, pictures) -> None:
    assert ours.classes == torchs.classes
    assert ours.thresholds == pytest.approx(torchs.thresholds, abs=SCORES)
    for number in range(4):
        same(*(d.detect(pictures / f"{number}.png", min_score=0) for d in (torchs, ours)))


def test_complete_marks_teach_what_they_teach_in_torch(exported_photos, torchs, shown, pictures) -> None:
    from repmet.detection.few_shot_detector import FewShotDetector as InTorch

    complete = InTorch(marks="complete").learn(shown)
    ours = FewShotDetector(exported_photos, runtime="onnxruntime", threads=1, marks="complete").learn(shown)
    everywhere(complete, ours, pictures)
    assert not np.allclose(torchs.learnt.scorer.weight, complete.learnt.scorer.weight)
    with pytest.raises(ValueError, match=r"episodes\.marks is partial or complete, not 'some'"):
        FewShotDetector(exported_photos, runtime="onnxruntime", marks="some")


def test_what_is_learnt_corrected_and_kept_is_torchs(exported_photos, torchs, shown, pictures, tmp_path) -> None:
    ours = FewShotDetector(exported_photos, runtime="onnxruntime", threads=1).learn(shown)
    everywhere(torchs, ours, pictures)
    for detector, other in ((ours, torchs), (torchs, ours)):  # a file of either is the other's
        detector.save(tmp_path / "classes.pth")
        other.load(tmp_path / "classes.pth")
        everywhere(torchs, ours, pictures)
        other.learn(shown)
    box = marks(3, *SIZES[3])
    for detector in (torchs, ours):
        detector.accept(pictures / "3.png", box[0], "a").reject(pictures / "3.png", box[1], "b")
    everywhere(torchs, ours, pictures)
    for detector in (torchs, ours):
        detector.add("c", [(pictures / "3.png", box[2])]).remove("a")
    everywhere(torchs, ours, pictures)
    for detector in (torchs, ours):
        detector.undo().undo()
    everywhere(torchs, ours, pictures)
    same(*(d.detect(pictures / "1.png", unknown=True, min_score=0) for d in (torchs, ours)))


def test_boxes_moved_to_the_marks_are_torchs(exported_photos, torchs, shown, pictures, tmp_path) -> None:
    """By a rule that asks for it, and from a file of torch's detector."""
    plain = torchs.learn(shown).detect(pictures / "0.png", min_score=0)
    torchs.cfg.episodes.box_refinement = 0.5
    try:
        torchs.learn(shown)
        ours = FewShotDetector(exported_photos, runtime="onnxruntime", threads=1)
        ours.facts = replace(ours.facts, rule=replace(ours.facts.rule, box_refinement=0.5))
        everywhere(torchs, ours.learn(shown), pictures)
        torchs.save(tmp_path / "classes.pth")
        everywhere(torchs, ours.load(tmp_path / "classes.pth"), pictures)
        assert not np.array_equal(torchs.detect(pictures / "0.png", min_score=0).boxes, plain.boxes)
    finally:
        del torchs.cfg.episodes["box_refinement"]


def test_supports_at_other_sizes_are_torchs(exported_photos, torchs, shown, pictures) -> None:
    torchs.cfg.episodes.support_scales = [0.5, 1, 1.5]
    try:
        torchs.learn(shown)
        ours = FewShotDetector(exported_photos, runtime="onnxruntime", threads=1)
        ours.facts = replace(ours.facts, rule=replace(ours.facts.rule, support_scales=(0.5, 1, 1.5)))
        ours.exported.facts = ours.facts
        everywhere(torchs, ours.learn(shown), pictures)
        assert len(torchs.learnt.embeddings) == 3 * torchs.cfg.episodes.support_views * sum(map(len, shown.values()))
    finally:
        del torchs.cfg.episodes["support_scales"]


def test_what_contradicts_a_mark_is_torchs(exported_photos, torchs, shown, pictures) -> None:
    """The one support of a class, a mark of another class, the same word twice, and the opposite after it."""
    ours = FewShotDetector(exported_photos, runtime="onnxruntime", threads=1)
    (first, second), supports = sorted(shown)[:2], [shown[name][0] for name in sorted(shown)[:2]]
    few = {first: [supports[0]], second: [supports[1]]}
    steps = [
        ("reject", supports[0], first),
        ("reject", supports[0], first),
        ("accept", supports[0], first),
        ("reject", supports[1], first),
    ]
    for detector in (torchs, ours):
        detector.learn(few)
    for word, (path, box), name in steps:
        for detector in (torchs, ours):
            getattr(detector, word)(path, box, name)
        everywhere(torchs, ours, pictures)


def test_probabilities_and_thresholds_are_torchs(exported_photos, torchs, shown, pictures) -> None:
    """Where the rule has a prior that scores are calibrated from."""
    prior = {"score_prior": ((1, 0.8, 1.8, 0.9), (5, 0.9, 2.0, 0.95))}
    torchs.cfg.episodes.update(prior)
    torchs.learn(shown)
    ours = FewShotDetector(exported_photos, runtime="onnxruntime", threads=1)
    ours.facts = replace(ours.facts, rule=replace(ours.facts.rule, **prior))
    ours.learn(shown)
    assert len(set(ours.thresholds.values())) == 2  # they come from what each class gave, not from the prior alone
    everywhere(torchs, ours, pictures)


def test_all_of_it_where_torch_cannot_be_imported(exported_photos, torchs, pictures, tmp_path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(exported_photos), str(pictures), str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["thresholds"] == pytest.approx(torchs.thresholds, abs=SCORES)
    for number, result_of_image in enumerate(told["found"]):
        expected = torchs.detect(pictures / f"{number}.png", min_score=0)
        best = expected.scores > 0.05
        np.testing.assert_allclose(np.array(result_of_image["scores"])[: best.sum()], expected.scores[best], atol=SCORES)
    assert (tmp_path / "picture.png").is_file() and json.loads((tmp_path / "coco.json").read_text())["annotations"]
    torchs.load(tmp_path / "classes.pth")
    assert torchs.classes == ("a", "b")
