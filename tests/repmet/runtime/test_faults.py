"""What is wrong with a folder, a runtime or a file of classes is said in one line; nothing is lost."""

import json
import shutil

import numpy as np
import pytest
import torch
from exported_photos import SIZES, marks, scenes

from repmet.errors import UserError
from repmet.runtime import FewShotDetector


@pytest.fixture
def copy(exported_photos, tmp_path):
    return shutil.copytree(exported_photos, tmp_path / "copy")


def test_a_folder_that_is_none(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no exported detector, it holds no detector\.json; `repmet export"):
        FewShotDetector(tmp_path)


@pytest.mark.parametrize("change", ["graph", "facts", "format", "key", "rule", "gone"])
def test_what_does_not_belong_together_is_refused(copy, change) -> None:
    facts = json.loads((copy / "detector.json").read_text())
    if change == "graph":
        with open(copy / "network.onnx", "ab") as file:
            file.write(b"more")
    elif change == "gone":
        (copy / "network.onnx").unlink()
    else:
        changed = {
            "facts": "{",
            "format": json.dumps(facts | {"format": "repmet-export-0"}),
            "key": json.dumps({k: v for k, v in facts.items() if k != "size"}),
            "rule": json.dumps(facts | {"rule": {"nms": 0.5, "magic": 1}}),
        }
        (copy / "detector.json").write_text(changed[change])
    with pytest.raises((UserError, FileNotFoundError), match=r"export (it|the detector) again") as caught:
        FewShotDetector(copy)
    assert "\n" not in str(caught.value)


def test_a_runtime_that_is_not_there(exported_photos, monkeypatch) -> None:
    from repmet import graph_session as session

    with pytest.raises(UserError, match="runtime is auto, onnxruntime or openvino, not 'tensorrt'"):
        FewShotDetector(exported_photos, runtime="tensorrt")
    monkeypatch.setattr(session.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs onnxruntime or openvino: pip install 'repmet\[runtime\]'"):
        FewShotDetector(exported_photos)


def test_classes_of_others_are_refused_and_change_nothing(exported_photos, tmp_path) -> None:
    detector = FewShotDetector(exported_photos, threads=1)
    with pytest.raises(UserError, match="there is nothing to save"):
        detector.save(tmp_path / "x.pth")
    image, boxes = scenes()[0], marks(0, *SIZES[0])
    detector.learn({"a": [(image, boxes[0])]})
    detector.save(tmp_path / "a.pth")
    kept = torch.load(tmp_path / "a.pth", weights_only=True)
    torch.save(kept | {"detector": "0" * 64}, tmp_path / "other.pth")
    torch.save(kept | {"scorer": kept["scorer"] | {"kind": "LastLayer"}}, tmp_path / "method.pth")
    torch.save({key: value for key, value in kept.items() if key != "crops"}, tmp_path / "cut.pth")
    torch.save({"state_dict": {}}, tmp_path / "weights.pth")
    for name, message in (
        ("other", "was made with another checkpoint"),
        ("method", "were learnt by LastLayer"),
        ("cut", "damaged, 'crops' is missing"),
        ("weights", "not a file of learnt classes"),
    ):
        with pytest.raises(UserError, match=message):
            detector.load(tmp_path / f"{name}.pth")
    detector.detect(image)
    assert detector.classes == ("a",)


def test_what_cannot_be_done_is_said(exported_photos, tmp_path) -> None:
    detector = FewShotDetector(exported_photos, threads=1)
    image, boxes = scenes()[0], marks(0, *SIZES[0])
    with pytest.raises(UserError, match="nothing to undo"):
        detector.undo()
    with pytest.raises(UserError, match="learn classes first"):
        detector.detect(image, unknown=True)
    detector.learn({"a": [(image, boxes[0])], "b": [(image, boxes[2])]})
    before = detector.detect(image, min_score=0)
    for wrong, message in (
        (lambda: detector.remove("c"), "no class 'c' among the learnt ones; there are: a, b"),
        (lambda: detector.rename("a", "b"), "'b' is the name of another class"),
        (lambda: detector.reject(image, boxes[1], "c"), "no class 'c'"),
        (lambda: detector.accept(image, [5, 5, 2, 2], "a"), "ends before it begins"),
        (lambda: detector.detect(image, min_score=2), r"min_score is in \[0, 1\]"),
    ):
        with pytest.raises(UserError, match=message):
            wrong()
    detector.remove("b")
    with pytest.raises(UserError, match="is the only class"):
        detector.remove("a")
    detector.undo()
    np.testing.assert_array_equal(detector.detect(image, min_score=0).scores, before.scores)
    detector.save(tmp_path / "ab.pth")
    detector.load(tmp_path / "ab.pth")
    with pytest.raises(UserError, match="what was loaded holds none"):
        detector.remove("b")


def test_a_class_corrected_leaves_the_others_bit_for_bit(exported_photos) -> None:
    detector = FewShotDetector(exported_photos, threads=1)
    image, boxes = scenes()[0], marks(0, *SIZES[0])
    detector.learn({"a": [(image, boxes[0])], "b": [(image, boxes[2])]})
    weight = detector._taught.known.weight.copy()
    detector.reject(scenes()[2], marks(2, *SIZES[2])[0], "a")
    assert (detector._taught.known.weight[1:] == weight[1:]).all()
    assert (detector._taught.known.weight[0] != weight[0]).any()
