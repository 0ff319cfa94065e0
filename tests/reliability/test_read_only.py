"""Commands that are to write where nothing can be written: one line names the place, before time is spent."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from repmet import exporting
from repmet import label as label_command
from repmet.classification import embed, explain, predict
from repmet.classification import train as train_classifier
from repmet.detection import detect, evaluate, train, tune
from tests.classification.conftest import write_experiment

COMMANDS: dict[str, tuple[Callable, str]] = {
    "detect": (detect.main, "{run} --support {support} --images {photo} --out {out}"),
    "detect --save": (detect.main, "{run} --support {support} --save {out}/mine.pth"),
    "label": (label_command.main, "{run} --support {support} --images {photo} --out {out}/set"),
    "tune": (tune.main, "{run} --support {support} --out {out}/mine.pth"),
    "export": (exporting.main, "--out {out}/exported"),
    "evaluate": (evaluate.main, "{run}/tiny.yaml {run}/epoch_1.pth --out {out}"),
    "train": (train.main, "{run}/tiny.yaml --work-dir {out}/run"),
    "train a classifier": (train_classifier.main, "{experiment} --work-dir {out}/run"),
    "classify": (predict.main, "{encoder} --support {support} --images {photo} --out {out}"),
    "embed": (embed.main, "{encoder} --images {photo} --out {out}/all.npz"),
    "explain": (explain.main, "{encoder} --support {support} --out {out}"),
}


@pytest.fixture(params=["a read-only disk", "a file in the place of the folder"])
def closed(request, tmp_path: Path) -> Iterator[Path]:
    """Who runs the tests may be root, whom the permissions of a folder do not hold back: a mount does."""
    if request.param == "a read-only disk":
        (tmp_path / "disk").mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", tmp_path / "disk"], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("nothing can be mounted here")
        yield tmp_path / "disk"
        subprocess.run(["umount", tmp_path / "disk"], check=True)
    else:
        (tmp_path / "disk").write_text("a file")
        yield tmp_path / "disk/below"


def test_where_nothing_can_be_written_one_line_says_so(
    closed,
    glyph_run,
    checkpoint,
    outcomes,
    tmp_path,
    capsys,
    monkeypatch,
) -> None:
    monkeypatch.setenv("REPMET_CACHE", str(tmp_path / "cache"))
    for name in ("red", "blue"):
        for number in range(2):
            (tmp_path / "support" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 24), name).save(tmp_path / "support" / name / f"{number}.png")
    names = {"run": glyph_run, "encoder": checkpoint, "support": tmp_path / "support", "out": closed}
    names |= {"photo": tmp_path / "support/red/0.png", "experiment": write_experiment(tmp_path)}
    for command, (main, words) in COMMANDS.items():
        capsys.readouterr()
        code = main(words.format(**names).split())
        said = capsys.readouterr().err
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert code == 2 and len(errors) == 1 and str(tmp_path / "disk") in errors[0], (command, code, said)
        outcomes["places that cannot be written to", command, "refused"] += 1
