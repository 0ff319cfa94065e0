"""The evaluate command as its tests call it."""

import json
from pathlib import Path
from typing import Any

import pytest

from repmet.classification.evaluate import main, run
from repmet.experiments.config.loading import load_experiment


def command(*argv: object) -> int:
    return main([str(a) for a in argv])


def measured(path: Path, checkpoint: Path | str, out: Path, **arguments: Any) -> dict:
    """Without the pictures, which take longer than all else; what was written is what was returned."""
    returned = run(load_experiment(path), str(checkpoint), out, **arguments)
    assert json.loads((out / "metrics.json").read_text()) == returned and not (out / "index.html").exists()
    return returned


def failure(capsys: pytest.CaptureFixture, *argv: object) -> str:
    capsys.readouterr()
    assert command(*argv) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    assert lines[-1].startswith("error: ") and "Traceback" not in "\n".join(lines)
    return lines[-1]
