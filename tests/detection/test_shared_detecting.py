"""`detect` and `label` by two processes (gloo): the files of one, and nothing is lost with a process that dies."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from forked import run

from repmet import detect as repmet_detect
from repmet import label as label_command
from repmet.detection import detect

REPOSITORY = Path(__file__).parents[2]


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "detections.jsonl").read_text().splitlines()]


def same(first: list[dict], second: list[dict]) -> None:
    """The same images in the same order, with the same boxes; an image's company in a batch changes its last digits."""
    assert [row["image"] for row in first] == [row["image"] for row in second]
    for row, other in zip(first, second, strict=True):
        boxes, scores = ([np.array([d[key] for d in r["detections"]]) for r in (row, other)] for key in ("box", "score"))
        assert len(boxes[0]) > 0
        np.testing.assert_allclose(*scores, atol=1e-4)
        np.testing.assert_allclose(*boxes, atol=0.05)


@pytest.fixture(scope="module")
def arguments(glyph_run: Path, support: Path) -> list[str]:
    return [str(glyph_run), "--support", str(support), "--min-score", "0.3", "--format", "jsonl"]


def test_two_processes_detect_what_one_does(arguments, photos, tmp_path) -> None:
    (photos / "broken.png").write_bytes(b"no image")
    words = [*arguments, "--images", str(photos), "--out"]
    try:
        run(detect.main, *words, tmp_path / "one", log=tmp_path / "log_one", codes=[1])
        said = run(detect.main, *words, tmp_path / "two", processes=2, log=tmp_path / "log_two")
    finally:
        (photos / "broken.png").unlink()
    assert said[0].count("broken.png: cannot be read") == 1 and "written: " in said[0]
    assert "written: " not in said[1] and "class" not in said[1]
    same(lines(tmp_path / "one"), lines(tmp_path / "two"))
    pictures = [sorted(path.name for path in (tmp_path / name / "pictures").glob("*.png")) for name in ("one", "two")]
    assert pictures[0] == pictures[1] and len(pictures[0]) == 4
    assert not (tmp_path / "two/unfinished").exists()


def test_two_processes_label_what_one_does(glyph_run, support, photos, tmp_path) -> None:
    words = [glyph_run, "--support", support, "--images", photos, "--accept", "0.3", "--out"]
    run(label_command.main, *words, tmp_path / "one", log=tmp_path / "log_one")
    run(label_command.main, *words, tmp_path / "two", processes=2, log=tmp_path / "log_two")
    first, second = (json.loads((tmp_path / name / "annotations.json").read_text()) for name in ("one", "two"))
    assert first["images"] == second["images"] and first["categories"] == second["categories"]
    rows = [[(row["image_id"], row["category_id"]) for row in content["annotations"]] for content in (first, second)]
    assert rows[0] == rows[1] and len(rows[0]) > 0


def test_what_a_killed_process_had_found_is_not_looked_for_again(arguments, photos, tmp_path, capsys) -> None:
    """As a user types it: torchrun ends the other one too, and the second run is one process."""
    many = tmp_path / "many"
    many.mkdir()
    first = sorted(photos.iterdir())[0]
    for number in range(150):
        os.link(first, many / f"{number:03d}{first.suffix}")
    words = [*arguments, "--images", str(many), "--pictures", "0", "--out", str(tmp_path / "out")]
    command = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    started = subprocess.Popen(
        [*command, "-m", "repmet", "detect", *words], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until = time.monotonic() + 300
    while not any((tmp_path / "out").rglob("*-1.jsonl")):
        assert started.poll() is None and time.monotonic() < until, started.communicate()[0]
        time.sleep(0.01)
    os.kill(worker_of(started.pid), signal.SIGKILL)
    said = started.communicate(timeout=120)[0]
    assert started.returncode != 0, said
    kept = sum(text.count("\n") for text in (path.read_text() for path in (tmp_path / "out/unfinished").rglob("*.jsonl")))
    assert 0 < kept < 150
    assert repmet_detect.main(words) == 0  # the same command: of `detection.detect` the options are not the same
    assert f"{kept} of 150 images were looked at before" in capsys.readouterr().out
    assert [row["image"] for row in lines(tmp_path / "out")] == [str(path) for path in sorted(many.iterdir())]
    assert len({json.dumps(row["detections"][0]["class"]) for row in lines(tmp_path / "out")}) == 1


def worker_of(parent: int) -> int:
    """The second process that torchrun has started."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parents) == parent and b"\0RANK=1\0" in (folder / "environ").read_bytes():
                return int(folder.name)
    raise AssertionError("torchrun has started no second process")
