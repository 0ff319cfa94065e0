"""What the benchmark starts does what it is said to do: a detection to its files, and a detector that has learnt."""

import json
import sys

import pytest
from PIL import Image

from repmet.benchmarks import cold_start
from repmet.benchmarks.cold_start import BOXES, detecting, learning
from repmet.benchmarks.latency_cases import scene
from repmet.command import main
from repmet.errors import UserError


@pytest.fixture
def images(tmp_path):
    for number in range(2):
        Image.fromarray(scene(number)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_the_command_writes_its_files(images, monkeypatch) -> None:
    monkeypatch.setattr(cold_start, "ran", lambda words: main([str(word) for word in words[2:]]))
    detecting(images, "torch")()
    content = json.loads((images / "out_torch/images.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["class 0", "class 1"]
    assert (images / "out_torch/results.json").is_file()


def test_the_program_learns(images, exported_photos, monkeypatch) -> None:
    names: dict = {}

    def ran(words) -> None:
        monkeypatch.setattr(sys, "argv", ["-c", *map(str, words[2:])])
        exec(words[1], names)

    monkeypatch.setattr(cold_start, "ran", ran)
    for exported in (exported_photos, None):
        learning(images, exported)()
        assert names["detector"].classes == ("class 0", "class 1")
        assert ("runtime" in names["FewShotDetector"].__module__) == (exported is not None)
    assert len(BOXES) == 2


def test_a_failure_is_said() -> None:
    with pytest.raises(UserError, match="No module named"):
        cold_start.ran(["-m", "no_such_module_at_all"])
