"""Commands that are killed at a random moment, and run again: the same bits, the same figures, nothing half read."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from drawing_program import DRAWS
from forked import killed, run
from PIL import Image

from repmet import exporting
from repmet.classification import train as train_classifier
from repmet.data.files import tensor_cache
from repmet.data.readers.annotated_folder import read_images
from repmet.detection import detect, evaluate, train, tune
from repmet.detection.export.write import export_detector
from repmet.detection.exported.folder import read_facts
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.experiments.running.checkpoints import load_checkpoint
from repmet.page.project import Project
from tests.classification.conftest import write_experiment

ROOT = Path(__file__).resolve().parents[2]
KILLS = 2  # of a command, before it may end
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
export(found, Path(sys.argv[1]) / "first", "voc")  # imports what writes it, which takes longer than a set
print("ready", flush=True)
for number in range(10**6):
    export(found, Path(sys.argv[1]) / f"set{number}", "voc", images=True)
"""


def killed_program(words: Sequence[str | Path], after: float) -> str:
    """Starts a program, kills it that many seconds after its first line, and gives what it said after that."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, env=environment, **pipes)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        return process.communicate(timeout=after)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        return process.communicate()[0]


def done(main: Callable, words: Sequence[str | Path], log: Path) -> float:
    """Runs a command to its end, in a forked process, which spares it the imports; the seconds that it took."""
    start = time.monotonic()
    run(main, *words, log=log)
    return time.monotonic() - start


def survives(main: Callable, words: Sequence[str | Path], seconds: float, seed: int, log: Path, kills: int = KILLS) -> int:
    """Kills a command at random moments of the seconds that it takes, then lets it end; how many of the kills met it."""
    draw = np.random.default_rng(seed)
    met = sum(not killed(main, *words, after=draw.uniform(0.02, 1.0) * seconds, log=log) for _ in range(kills))
    done(main, words, log)
    return met


def test_a_set_is_there_whole_or_not_at_all(seed, outcomes, tmp_path: Path) -> None:
    killed_program(["-c", _SETS, tmp_path], np.random.default_rng(seed).uniform(0.05, 1.0))
    folders = sorted(tmp_path.glob("set*"), key=lambda path: int(path.name[3:]))
    assert folders, "killed before it began"
    for folder in folders[:-1]:
        assert len(read_images(folder, "default")) == 12
    if folders and (folders[-1] / "ImageSets/Main/default.txt").is_file():  # what lists the others comes last
        assert len(read_images(folders[-1], "default")) == 12
    outcomes["kills: sets in VOC's layout", "Detections, export", "right"] += 1


@pytest.mark.campaign
def test_a_training_ends_with_the_same_bits(seed, glyph_run, outcomes, tmp_path: Path) -> None:
    experiment = tmp_path / "tiny.yaml"
    text = yaml.safe_load((glyph_run / "tiny.yaml").read_text())
    experiment.write_text(yaml.safe_dump(text | {"train_cfg": {"max_epochs": 3}}))
    words = [experiment, "--resume", "auto", "--work-dir"]
    seconds = done(train.main, [*words, tmp_path / "whole"], tmp_path / "log")
    met = survives(train.main, [*words, tmp_path / "killed"], seconds, seed, tmp_path / "log")
    whole, again = (load_checkpoint(tmp_path / name / "epoch_3.pth")["state_dict"] for name in ("whole", "killed"))
    assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)
    outcomes["kills: training of a detector", "train --resume auto", "right"] += met


@pytest.mark.campaign
def test_a_classifiers_training_ends_with_the_same_bits(seed, outcomes, tmp_path: Path) -> None:
    words = [write_experiment(tmp_path), "--resume", "auto", "--work-dir"]
    seconds = done(train_classifier.main, [*words, tmp_path / "whole"], tmp_path / "log")
    met = survives(train_classifier.main, [*words, tmp_path / "killed"], seconds, seed, tmp_path / "log")
    whole, again = (load_checkpoint(tmp_path / name / "epoch_3.pth")["state_dict"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    outcomes["kills: training of a classifier", "train --resume auto", "right"] += met


@pytest.mark.campaign
def test_an_evaluation_ends_with_the_same_figures(seed, glyph_run, outcomes, tmp_path: Path, monkeypatch) -> None:
    words = [glyph_run / "tiny.yaml", glyph_run / "epoch_1.pth", "--out"]
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache-whole")
    seconds = done(evaluate.main, [*words, tmp_path / "whole"], tmp_path / "log")
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache-killed")
    met = survives(evaluate.main, [*words, tmp_path / "killed"], seconds, seed, tmp_path / "log")
    whole, again = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "killed"))
    assert whole["results"] == again["results"]
    outcomes["kills: evaluation with a cache", "evaluate", "right"] += met


@pytest.mark.campaign
def test_tuned_classes_are_whole_and_the_same(seed, shipped_detector, outcomes, tmp_path: Path) -> None:
    """The file is that of before or the new one, and what is learnt from the marks does not depend on what was killed."""
    draw = np.random.default_rng(seed)
    for number in range(3):
        pixels = draw.integers(100, 150, (150, 200, 3), np.uint8)
        pixels[40:90, 60:120] = (200, 30, 30)
        (tmp_path / "support").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "support" / f"{number}.png")
        box = "<bndbox><xmin>61</xmin><ymin>41</ymin><xmax>120</xmax><ymax>90</ymax></bndbox>"
        size = "<size><width>200</width><height>150</height></size>"
        text = f"<annotation>{size}<object><name>nut</name>{box}</object></annotation>"
        (tmp_path / "support" / f"{number}.xml").write_text(text)
    words = ["--support", tmp_path / "support", "--out"]
    seconds = done(tune.main, [*words, tmp_path / "whole.pth"], tmp_path / "log")
    (tmp_path / "killed.pth").write_bytes((tmp_path / "whole.pth").read_bytes())
    met = survives(tune.main, [*words, tmp_path / "killed.pth"], seconds, seed, tmp_path / "log")
    whole, again = (FewShotDetector().load(tmp_path / name).learnt for name in ("whole.pth", "killed.pth"))
    assert torch.equal(whole.scorer.weight, again.scorer.weight) and whole.calibration == again.calibration
    outcomes["kills: tuning", "tune", "right"] += met


def test_what_was_detected_is_kept(seed, glyph_run, outcomes, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (96, 128, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02d}.png")
    words = [glyph_run, "--images", tmp_path / "photos", "--format", "jsonl", "--pictures", "0", "--out"]
    seconds = done(detect.main, [*words, tmp_path / "whole"], tmp_path / "log")
    met = survives(detect.main, [*words, tmp_path / "killed"], seconds, seed, tmp_path / "log", kills=1)
    images = [
        [json.loads(line)["image"] for line in (tmp_path / name / "detections.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    ]
    assert images[0] == images[1] and len(set(images[0])) == 12
    outcomes["kills: detection", "detect", "right"] += met


@pytest.mark.campaign
def test_an_export_is_whole_or_the_one_before(seed, shipped_detector, outcomes, tmp_path: Path) -> None:
    before = export_detector(shipped_detector, tmp_path / "mine")
    words, draw = ["--out", tmp_path / "mine"], np.random.default_rng(seed)
    for _ in range(KILLS):
        outcomes["kills: export of the shipped detector", "export", "right"] += not killed(
            exporting.main, *words, after=draw.uniform(0.1, 10), log=tmp_path / "log"
        )
        assert read_facts(tmp_path / "mine").detector == before.detector
    done(exporting.main, words, tmp_path / "log")
    assert read_facts(tmp_path / "mine").detector == before.detector


@pytest.mark.campaign
def test_a_page_loses_nothing_that_was_drawn(seed, outcomes, tmp_path: Path) -> None:
    said = killed_program(["-c", DRAWS, tmp_path / "project"], np.random.default_rng(seed).uniform(0.05, 1.0))
    last = max(map(int, said.split()), default=1)
    project = Project(tmp_path / "project")  # the lock of a killed process is free
    numbers = [mark.number for mark in project.state.marks]
    assert numbers == list(range(1, len(numbers) + 1)) and last <= len(numbers) <= last + 1
    project.close()
    outcomes["kills: drawing on the page", "page", "right"] += 1
