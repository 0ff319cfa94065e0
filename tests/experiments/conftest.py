"""The toy tree for the launcher's tests: importable here, and in the commands that the tests start."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture
def toy_yaml() -> Path:
    return HERE / "toy" / "toy.yaml"


@pytest.fixture
def write_yaml(tmp_path: Path, toy_yaml: Path) -> Callable[..., Path]:
    """Writes an experiment that inherits the toy one."""

    def write(text: str, name: str = "own.yaml", base: bool = True) -> Path:
        path = tmp_path / name
        inherit = f"_base_: {os.path.relpath(toy_yaml, tmp_path)}\n" if base else ""
        path.write_text(inherit + text)
        return path

    return write


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen]:
    """Starts `python ARGUMENTS` with the toy tree importable."""

    def popen(*arguments: object, **kwargs: object) -> subprocess.Popen:
        paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **kwargs,
        )

    return popen
