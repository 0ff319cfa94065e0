"""`python setup.py build develop` in a fresh environment without pip, without network, and without a compiler.

The environment borrows torch and the rest through a .pth file, so nothing is downloaded or copied.
"""

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import importlib.metadata, json, torch
from repmet.model_definitions import roi_layers
box = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
print(json.dumps({
    "version": importlib.metadata.version("repmet"),
    "file": roi_layers.__file__,
    "backend": roi_layers.backend(),
    "pooled": roi_layers.roi_align(torch.ones(1, 1, 4, 4), box, 1).item(),
    "record": [str(file) for file in importlib.metadata.files("repmet")],
}))
"""


def _only_sources(folder: str, names: list[str]) -> list[str]:
    """What a copy leaves out: what is compiled, and data sets that lie in the checkout."""
    kept = {".py", ".cpp", ".h", ".cu", ".cuh", ".typed"}
    return [
        name for name in names if name == "__pycache__" or ((p := Path(folder, name)).is_file() and p.suffix not in kept)
    ]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a build needs."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for tree in ("benchmarks", "classification", "csrc", "data", "detection", "experiments", "model_definitions", "repmet"):
        shutil.copytree(ROOT / tree, folder / tree, ignore=_only_sources)
    return folder


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a new environment that sees this one's packages, but not this checkout."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def run(python: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FORCE_CUDA", "CUDA_HOME")}
    env |= {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1"} | environment
    return subprocess.run([str(python), *arguments], cwd=cwd, env=env, capture_output=True, text=True)


def installed(python: Path, cwd: Path) -> dict:
    result = run(python, "-W", "ignore", "-c", PROGRAM, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="needs a C++ compiler")
def test_build_develop_compiles_and_installs(checkout, python, tmp_path) -> None:
    result = run(python, "setup.py", "build", "develop", cwd=checkout, FORCE_CUDA="0")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert (checkout / "csrc" / "_cpu.so").is_file()
    installation = installed(python, tmp_path)
    assert installation["backend"] == "csrc"
    assert installation["pooled"] == 1.0
    assert Path(installation["file"]).is_relative_to(checkout)
    assert any(name.endswith("direct_url.json") for name in installation["record"])
    site = next((tmp_path / "environment").glob("lib/*/site-packages"))
    for name in installation["record"]:  # what an uninstaller would remove
        assert (site / name).exists()
    again = run(python, "setup.py", "develop", cwd=checkout, FORCE_CUDA="0")
    assert again.returncode == 0, again.stderr[-3000:]
    assert len(list(site.glob("repmet-*.dist-info"))) == 1


def test_without_a_compiler_it_installs_with_one_notice(checkout, python, tmp_path) -> None:
    result = run(python, "setup.py", "build", "develop", cwd=checkout, CXX="no-such-compiler")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert result.stderr.count("no C++ compiler") == 1
    command = run(tmp_path / "environment" / "bin" / "repmet", "--version", cwd=tmp_path)
    assert command.stdout == "repmet 0.1.0\n", command.stderr
    installation = installed(python, tmp_path)
    assert installation["backend"] == "torchvision"
    assert installation["pooled"] == 1.0


def test_force_cuda_without_a_toolkit_says_so(checkout, python) -> None:
    result = run(python, "setup.py", "build", cwd=checkout, FORCE_CUDA="1", CUDA_HOME="/nowhere")
    assert result.returncode != 0
    assert "FORCE_CUDA=1" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_stable_abi_only() -> None:
    """The library needs torch's own libraries and the system's, no Python: one binary for every version of both."""
    library = ROOT / "csrc" / "_cpu.so"
    if not library.is_file() or not shutil.which("nm"):
        pytest.skip("csrc is not compiled here, or there is no nm")
    undefined = subprocess.run(
        ["nm", "-D", "--undefined-only", str(library)], capture_output=True, text=True, check=True
    ).stdout
    names = [line.split()[-1] for line in undefined.splitlines()]
    assert not [name for name in names if name.startswith(("Py", "_Py"))]
    assert not [name for name in names if "c10" in name or "N2at" in name], "a symbol outside of the stable ABI"
