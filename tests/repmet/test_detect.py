"""`repmet detect` by the exported detector: what is chosen, that it needs no torch, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from exported_photos import SIZES, marks, scenes
from PIL import Image

from repmet import detect
from repmet.command import main
from repmet.detection.exported import cached

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = """
import importlib.abc, sys
class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "mmengine", "mmcv", "mmdet"}:
            raise ImportError(f"{name} is not to be had")
sys.meta_path.insert(0, NoTorch())
from repmet.command import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def scenery(tmp_path) -> Path:
    """A folder of pictures, and beside it a support set of one of them in COCO's layout."""
    for folder in ("photos", "support"):
        (tmp_path / folder).mkdir()
    for number, image in enumerate(scenes()):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    shutil.copy(tmp_path / "photos/0.png", tmp_path / "support")
    width, height = SIZES[0]
    boxes = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in marks(0, width, height)]
    content = {
        "images": [{"id": 1, "file_name": "0.png", "width": width, "height": height}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "bbox": box, "area": 1, "iscrowd": 0} for k, box in enumerate(boxes)
        ],
    }
    (tmp_path / "support/instances.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def in_cache(exported_photos) -> Path:
    """The export where the commands look for it; tests have a cache of their own."""
    folder = cached.cached_folder()
    if not folder.is_dir():
        shutil.copytree(exported_photos, folder)
    return folder


def test_the_shipped_detector_runs_without_torch(in_cache, scenery) -> None:
    words = ["detect", "--runtime", "onnxruntime", "--support", "support", "--images", "photos", "--save", "classes.pth"]
    command = [sys.executable, "-c", WITHOUT_TORCH, *words, "--out", "found"]
    result = subprocess.run(command, cwd=scenery, capture_output=True, text=True, env=_environment())
    assert result.returncode == 0, result.stderr
    assert "1 class: thing" in result.stdout and (scenery / "classes.pth").is_file()
    assert len(json.loads((scenery / "found/images.json").read_text())["images"]) == 4
    assert len(list((scenery / "found/pictures").glob("*.png"))) == 4
    ours = json.loads((scenery / "found/results.json").read_text())
    again = ["detect", str(in_cache), "--support", str(scenery / "classes.pth"), "--images", str(scenery / "photos")]
    assert main([*again, "--out", str(scenery / "again")]) == 0
    assert json.loads((scenery / "again/results.json").read_text()) == ours
    assert main(["detect", "--runtime", "torch", *again[2:], "--out", str(scenery / "torch")]) == 0
    torchs = json.loads((scenery / "torch/results.json").read_text())
    best = [sorted((row["score"] for row in rows), reverse=True)[:20] for rows in (ours, torchs)]
    assert best[0] == pytest.approx(best[1], abs=1e-4)


COSTLY = {
    "torch", "torchvision", "mmengine", "mmcv", "mmdet", "cv2", "timm", "sklearn", "matplotlib", "pandas", "supervision",
    "pycocotools", "rich", "openvino", "onnx",
}  # fmt: skip
IMPORTED = """
import json, sys
from repmet.command import main
code = main(sys.argv[2:])
json.dump(sorted({name.partition(".")[0] for name in sys.modules}), open(sys.argv[1], "w"))
sys.exit(code)
"""


def test_the_command_imports_nothing_that_costs_and_that_it_does_not_need(in_cache, scenery) -> None:
    def imported(*words: str) -> set[str]:
        command = [sys.executable, "-c", IMPORTED, "imported.json", "detect", "--images", "photos/1.png", *words]
        result = subprocess.run(command, cwd=scenery, capture_output=True, text=True, env=_environment())
        assert result.returncode == 0, result.stderr
        return set(json.loads((scenery / "imported.json").read_text()))

    learning = imported("--runtime", "onnxruntime", "--support", "support", "--save", "classes.pth")
    assert "scipy" in learning and not learning & COSTLY
    assert not imported("--runtime", "onnxruntime", "--support", "classes.pth") & {"scipy", *COSTLY}


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(ROOT)}


def test_label_runs_by_the_exported_detector_too(in_cache, scenery, capsys) -> None:
    words = ["label", "--support", str(scenery / "support"), "--images", str(scenery / "photos"), "--accept", "0.3"]
    assert main([*words, "--runtime", "onnxruntime", "--out", str(scenery / "by_onnx")]) == 0
    assert main([*words, "--runtime", "torch", "--out", str(scenery / "by_torch")]) == 0
    counts = [line for line in capsys.readouterr().out.splitlines() if line.startswith("thing: ")]
    assert len(counts) == 2 and counts[0] == counts[1] and "thing: 0 accepted" not in counts[0]


@pytest.mark.parametrize(
    ("words", "installed", "gpu", "runtime"),
    [
        ([], ("onnxruntime", "openvino", "onnx"), False, "onnxruntime"),
        ([], ("openvino", "onnx"), False, "openvino"),
        ([], (), False, "torch"),
        ([], ("onnxruntime",), True, "torch"),
        (["my_run"], ("onnxruntime", "onnx"), False, "torch"),
        (["--finetune"], ("onnxruntime", "onnx"), False, "torch"),
    ],
)
def test_what_auto_comes_to(in_cache, monkeypatch, words, installed, gpu, runtime) -> None:
    monkeypatch.setattr(detect.importlib.util, "find_spec", lambda name: name in installed or None)
    monkeypatch.setattr(detect.shutil, "which", lambda name: "/bin/nvidia-smi" if gpu else None)
    if not gpu and Path("/dev/nvidia0").exists():
        pytest.skip("there is a GPU here")
    monkeypatch.setattr(detect.detect, "in_torch", lambda args: "torch")
    monkeypatch.setattr(detect, "_exported", lambda folder, name, args: name)
    arguments = detect.detect.command_line("repmet detect").parse_args(words)
    arguments.runtime = "auto"
    assert detect.opened(arguments) == runtime


def test_an_export_that_differs_is_not_used(monkeypatch, tmp_path, capsys) -> None:
    """By `auto` torch runs instead; who names a runtime is told."""
    from repmet.detection.export import into_cache
    from repmet.errors import UserError

    def differ(folder: Path, runtime: str) -> None:
        raise UserError(f"{runtime} gives other results than torch here")

    monkeypatch.setattr(into_cache, "export_into", differ)
    monkeypatch.setattr(detect, "cached_folder", lambda: tmp_path / "none")
    monkeypatch.setattr(detect, "_best", lambda args: "openvino")
    monkeypatch.setattr(detect.detect, "in_torch", lambda args: "torch")
    arguments = detect.detect.command_line("repmet detect").parse_args([])
    arguments.runtime = "auto"
    assert detect.opened(arguments) == "torch"
    assert "torch is used: openvino gives other results" in capsys.readouterr().err
    arguments.runtime = "openvino"
    with pytest.raises(UserError, match="gives other results"):
        detect.opened(arguments)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runtime", "torch"], "an exported detector; --runtime torch needs the checkpoint that it was made of"),
        (["--finetune", "--support", "x"], "an exported detector; --finetune needs the checkpoint"),
    ],
)
def test_what_an_exported_detector_cannot_do(in_cache, words, message, tmp_path, capsys) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    images = ["--images", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    assert main(["detect", str(in_cache), *words, *images]) == 2
    assert message in capsys.readouterr().err
    assert main(["detect", "my_run", "--runtime", "openvino", *images]) == 2
    assert "openvino does not run my_run as it is: export it" in capsys.readouterr().err
