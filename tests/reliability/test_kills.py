"""Commands that are killed at a random moment, and run again: the same bits, the same figures, nothing half read."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from drawing_program import DRAWS

from repmet.data.readers.annotated_folder import read_images
from repmet.detection.export.write import export_detector
from repmet.detection.exported.folder import read_facts
from repmet.experiments.running.checkpoints import load_checkpoint
from repmet.page.project import Project

ROOT = Path(__file__).resolve().parents[2]
_SETS = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from repmet import Detections, export
from repmet.data.readers.image_inputs import image_inputs
photos = Path(sys.argv[1]) / "photos"
photos.mkdir(exist_ok=True)
for number in range(12):
    Image.new("RGB", (60, 40), (number, 0, 0)).save(photos / f"{number}.png")
found = [
    Detections(boxes=np.array([[1.0, 2.0, 30.0, 30.0]]), scores=np.array([0.9]), labels=np.array([0]), classes=("cat",),
               image=image, size=(60, 40), nearest=np.array([-1]))
    for image in image_inputs(photos)
]
print("ready", flush=True)
for number in range(10**6):
    export(found, Path(sys.argv[1]) / f"set{number}", "voc", images=True)
"""


def killed(words: Sequence[str | Path], after: float, ready: bool = False) -> str:
    """Starts a command, kills it that many seconds after its start or its first line, and gives what it said after that."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, env=environment, **pipes)
    assert process.stdout is not None
    if ready:
        process.stdout.readline()
    try:
        return process.communicate(timeout=after)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        return process.communicate()[0]


def done(words: Sequence[str | Path]) -> float:
    """Runs a command to its end; the seconds that it took."""
    start = time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return time.monotonic() - start


def test_a_set_is_there_whole_or_not_at_all(seed, outcomes, tmp_path: Path) -> None:
    killed(["-c", _SETS, tmp_path], np.random.default_rng(seed).uniform(0.05, 1.0), ready=True)
    folders = sorted(tmp_path.glob("set*"), key=lambda path: int(path.name[3:]))
    for folder in folders[:-1]:
        assert len(read_images(folder)) == 12
    if folders and (folders[-1] / "ImageSets/Main/default.txt").is_file():  # what lists the others comes last
        assert len(read_images(folders[-1])) == 12
    outcomes["kills: sets in VOC's layout", "Detections, export", "right"] += 1


@pytest.mark.campaign
def test_a_training_ends_with_the_same_bits(seed, glyph_run, outcomes, tmp_path: Path) -> None:
    experiment = tmp_path / "tiny.yaml"
    text = yaml.safe_load((glyph_run / "tiny.yaml").read_text())
    experiment.write_text(yaml.safe_dump(text | {"train_cfg": {"max_epochs": 3}}))
    words = ["-m", "detection.train", experiment, "--resume", "auto", "--work-dir"]
    seconds = done([*words, tmp_path / "whole"])
    draw = np.random.default_rng(seed)
    for _ in range(2):
        killed([*words, tmp_path / "killed"], draw.uniform(0.3, 1.0) * seconds)
    done([*words, tmp_path / "killed"])
    whole, again = (load_checkpoint(tmp_path / name / "epoch_3.pth")["state_dict"] for name in ("whole", "killed"))
    assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)
    outcomes["kills: training of a detector", "train --resume auto", "right"] += 2


@pytest.mark.campaign
def test_a_classifiers_training_ends_with_the_same_bits(seed, outcomes, tmp_path: Path) -> None:
    from tests.classification.conftest import write_experiment

    words = ["-m", "classification.train", write_experiment(tmp_path), "--resume", "auto", "--work-dir"]
    seconds = done([*words, tmp_path / "whole"])
    draw = np.random.default_rng(seed)
    for _ in range(2):
        killed([*words, tmp_path / "killed"], draw.uniform(0.3, 1.0) * seconds)
    done([*words, tmp_path / "killed"])
    whole, again = (load_checkpoint(tmp_path / name / "epoch_3.pth")["state_dict"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    outcomes["kills: training of a classifier", "train --resume auto", "right"] += 2


@pytest.mark.campaign
def test_an_evaluation_ends_with_the_same_figures(seed, glyph_run, outcomes, tmp_path: Path, monkeypatch) -> None:
    words = ["-m", "detection.evaluate", glyph_run / "tiny.yaml", glyph_run / "epoch_1.pth", "--out"]
    monkeypatch.setenv("REPMET_CACHE", str(tmp_path / "cache-whole"))
    seconds = done([*words, tmp_path / "whole"])
    monkeypatch.setenv("REPMET_CACHE", str(tmp_path / "cache-killed"))
    draw = np.random.default_rng(seed)
    for _ in range(2):
        killed([*words, tmp_path / "killed"], draw.uniform(0.3, 1.0) * seconds)
    done([*words, tmp_path / "killed"])
    whole, again = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "killed"))
    assert whole["results"] == again["results"]
    outcomes["kills: evaluation with a cache", "evaluate", "right"] += 2


@pytest.mark.campaign
def test_an_export_is_whole_or_the_one_before(seed, shipped_detector, outcomes, tmp_path: Path) -> None:
    before = export_detector(shipped_detector, tmp_path / "mine")
    words = ["-m", "repmet", "export", "--out", tmp_path / "mine"]
    draw = np.random.default_rng(seed)
    for _ in range(2):
        killed(words, draw.uniform(3, 20))
        assert read_facts(tmp_path / "mine").detector == before.detector
    done(words)
    assert read_facts(tmp_path / "mine").detector == before.detector
    outcomes["kills: export of the shipped detector", "export", "right"] += 2


@pytest.mark.campaign
def test_a_page_loses_nothing_that_was_drawn(seed, outcomes, tmp_path: Path) -> None:
    said = killed(["-c", DRAWS, tmp_path / "project"], np.random.default_rng(seed).uniform(0.05, 1.0), ready=True)
    last = max(map(int, said.split()), default=1)
    project = Project(tmp_path / "project")  # the lock of a killed process is free
    numbers = [mark.number for mark in project.state.marks]
    assert numbers == list(range(1, len(numbers) + 1)) and last <= len(numbers) <= last + 1
    project.close()
    outcomes["kills: drawing on the page", "page", "right"] += 1
