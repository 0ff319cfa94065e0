"""The exported classifier gives what the one in torch gives, and where torch cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.classification.few_shot_classifier import FewShotClassifier as InTorch
from repmet.command import main
from repmet.errors import UserError
from repmet.runtime import FewShotClassifier

pytest.importorskip("onnx")
ROOT = Path(__file__).parents[3]
SECTION = {"type": "Conv4", "in_channels": 3, "width": 16, "image_size": 16}
COLOURS = {"blue": (40, 60, 210), "green": (50, 190, 70), "red": (220, 40, 30)}
NO_TORCH = """
import importlib.abc, json, sys
class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "mmengine", "mmcv", "mmdet", "timm", "cv2"}:
            raise ImportError(f"{name} is not to be had")
sys.meta_path.insert(0, NoTorch())
"""
PROGRAM = """
from repmet.runtime import FewShotClassifier
folder, pictures, out = sys.argv[1:]
classifier = FewShotClassifier(folder, threads=1).learn(f"{pictures}/shown")
classifier.add("black", f"{pictures}/black.png").rename("black", "dark").remove("green")
assert classifier.classes == ("blue", "dark", "red")
classifier.save(f"{out}/classes.pth")
again = FewShotClassifier(folder, threads=1).load(f"{out}/classes.pth")
answers = list(again.predict(f"{pictures}/asked", none_share=0.2))
print(json.dumps([[a.name, a.probabilities.tolist(), a.distance, [s.name for s in a.nearest]] for a in answers]))
"""


@pytest.fixture(scope="module")
def torchs():
    import torch

    torch.manual_seed(0)
    return InTorch(SECTION)


@pytest.fixture(scope="module")
def folder(torchs, tmp_path_factory) -> Path:
    from repmet.classification.export.write import export_classifier

    folder = tmp_path_factory.mktemp("classifier")
    export_classifier(torchs.encoder, folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Noisy pictures of three colours: four that show each, two of each to ask about, and a black one."""
    root, generator = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)

    def draw(path: Path, colour: tuple[int, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        noisy = np.array(colour) + generator.normal(0, 25, (20, 26, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)

    for name, colour in COLOURS.items():
        for k in range(6):
            draw(root / ("shown" if k < 4 else "asked") / name / f"{k}.png", colour)
    draw(root / "black.png", (5, 5, 5))
    return root


def without_torch(program: str, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", NO_TORCH + program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def same(a, b) -> None:
    assert a.name == b.name and [s.name for s in a.nearest] == [s.name for s in b.nearest]
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-4)
    np.testing.assert_allclose(a.distances, b.distances, atol=1e-4)


@pytest.mark.parametrize("modes", [1, 2, "all"])
def test_what_is_learnt_is_torchs(torchs, folder, pictures, tmp_path, modes) -> None:
    expected = InTorch(SECTION, modes=modes)
    expected.encoder = torchs.encoder
    ours = FewShotClassifier(folder, modes=modes, runtime="onnxruntime", threads=1)
    for classifier in (expected, ours):
        classifier.learn(pictures / "shown")
    asked = sorted((pictures / "asked").rglob("*.png"))
    np.testing.assert_allclose(ours.embed(asked), expected.embed(asked), atol=1e-4)
    for pair in zip(expected.predict(asked), ours.predict(asked), strict=True):
        same(*pair)
    for classifier, other in ((ours, expected), (expected, ours)):  # a file of either is the other's
        classifier.save(tmp_path / "classes.pth")
        same(classifier.predict(asked[0]), other.load(tmp_path / "classes.pth").predict(asked[0]))


def test_where_torch_cannot_be_imported(torchs, folder, pictures, tmp_path) -> None:
    result = without_torch(PROGRAM, folder, pictures, tmp_path)
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    expected = InTorch(SECTION)
    expected.encoder = torchs.encoder
    expected.load(tmp_path / "classes.pth")
    answers = list(expected.predict(pictures / "asked", none_share=0.2))
    assert len(answers) == len(rows) == 6 and {row[0] for row in rows} >= {"blue", "red"}
    for answer, (name, probabilities, distance, nearest) in zip(answers, rows, strict=True):
        assert answer.name == name and [s.name for s in answer.nearest] == nearest
        np.testing.assert_allclose(answer.probabilities, probabilities, atol=1e-4)
        assert answer.distance == pytest.approx(distance, abs=1e-4)


def test_the_command_needs_no_torch(folder, pictures, tmp_path) -> None:
    words = ["classify", folder, "--support", pictures / "shown", "--images", pictures / "asked"]
    program = "from repmet.command import main\nsys.exit(main(sys.argv[1:]))"
    result = without_torch(program, *words, "--save", tmp_path / "classes.pth", "--out", tmp_path / "found")
    assert result.returncode == 0, result.stderr
    assert "3 classes: blue (4), green (4), red (4)" in result.stdout
    rows = json.loads((tmp_path / "found/predictions.json").read_text())
    assert [row["class"] for row in rows] == ["blue", "blue", "green", "green", "red", "red"]


def test_other_encoders_and_sizes_are_refused(folder, pictures, tmp_path, capsys) -> None:
    other = InTorch(SECTION | {"width": 8}).learn(pictures / "shown")
    other.save(tmp_path / "classes.pth")
    with pytest.raises(UserError, match="was made with another encoder"):
        FewShotClassifier(folder).load(tmp_path / "classes.pth")
    words = ["classify", str(folder), "--support", str(pictures / "shown"), "--images", str(pictures / "black.png")]
    assert main([*words, "--size", "32", "--out", str(tmp_path / "x")]) == 2
    assert "exported for 16 pixels; --size 32 needs the encoder in torch" in capsys.readouterr().err
