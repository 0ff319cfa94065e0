"""A wheel in an empty environment: nothing but `repmet` at its top, everything inside that it needs, and it detects."""

import csv
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json
import repmet
from repmet.data.files.tensor_cache import CACHE
from repmet.data.readers.devkit import CLASS_LISTS
from repmet.data.readers.trees import SHIPPED
from repmet.experiments.config.loading import load_experiment
from repmet.experiments.running.provenance import git_revision
from repmet.installation import checkout

cfg = load_experiment("experiments/detection/demo.yaml")
names = [repmet.__file__, CACHE, CLASS_LISTS / "voc.txt", SHIPPED / "caltech101.yaml", cfg.filename, cfg.data.root]
print(json.dumps([*map(str, names), str(checkout()), git_revision(), repmet.__version__]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a copy of what git keeps, with what an earlier build may have left; csrc's compilation is tested apart."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        files = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git's list of what belongs to the project")
    for name in filter(None, files):
        if not name.startswith(("tests/", "docs/", "models/results/")) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    for stale in ("build/lib/data/old.py", "build/lib/repmet/detection/old.py"):
        (source / stale).parent.mkdir(parents=True, exist_ok=True)
        (source / stale).touch()
    with_pip = ["-m", "pip", "--quiet", "wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
    without = ["setup.py", "--quiet", "bdist_wheel", "--dist-dir", str(out)]
    command = [sys.executable, *(with_pip if find_spec("pip") else without)]
    environment = os.environ | {"CXX": "no-such-compiler", "PIP_NO_INDEX": "1"}
    result = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    (made,) = out.glob("repmet-*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, which borrows this one's other packages; it lies in somebody's repository."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run(["git", "-C", str(folder), "init", "--quiet"], check=False)
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    if find_spec("pip"):
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--quiet"]
        subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    else:  # what an installer does
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        (folder / "bin" / "repmet").write_text(f"#!{folder}/bin/python\nfrom repmet.command import run\n\nrun()\n")
        (folder / "bin" / "repmet").chmod(0o755)
    return folder


def run(*command: str | Path, cwd: Path, home: Path) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "REPMET_CACHE")}
    settings = {"XDG_CACHE_HOME": str(home), "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(list(map(str, command)), cwd=cwd, env=kept | settings, capture_output=True, text=True)


def test_its_contents(wheel) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        (record,) = [name for name in names if name.endswith("RECORD")]
        recorded = {row[0] for row in csv.reader(archive.read(record).decode().splitlines())}
    assert {name.partition("/")[0] for name in names} == {"repmet", metadata.partition("/")[0]}
    assert recorded == names
    for path in [
        *(ROOT / "data" / "classes").rglob("*.txt"),
        *(ROOT / "data" / "classes").rglob("*.yaml"),
        *(ROOT / "experiments").rglob("*.yaml"),
        *(ROOT / "models" / "weights").glob("*"),
        *(p for tree in ("detection", "classification", "model_definitions") for p in (ROOT / tree).rglob("*.py")),
    ]:
        assert f"repmet/{path.relative_to(ROOT).as_posix()}" in names, path
    assert not [name for name in names if name.endswith("/old.py") or "/tests/" in name or name.endswith(".so")]
    assert "repmet/py.typed" in names


def test_it_finds_its_files_and_keeps_out_of_its_own_folder(environment, tmp_path) -> None:
    result = run(environment / "bin" / "python", "-c", PROGRAM, cwd=tmp_path, home=tmp_path / "home")
    assert result.returncode == 0, result.stderr
    *paths, checkout, revision, version = json.loads(result.stdout.splitlines()[-1])
    module, cache, classes, tree, experiment, data = map(Path, paths)
    site = module.parents[1]
    assert site.is_relative_to(environment)
    for inside in (classes, tree, experiment):
        assert inside.is_relative_to(site / "repmet") and inside.is_file()
    assert cache == tmp_path / "home" / "repmet"
    assert data.is_relative_to(cache)
    assert (checkout, revision) == ("None", None)  # though a repository is above it
    command = run(environment / "bin" / "repmet", "--version", cwd=tmp_path, home=tmp_path)
    assert command.stdout == f"repmet {version}\n"


def test_it_detects(environment, glyph_run, support, photos, tmp_path) -> None:
    site = next(environment.glob("lib/*/site-packages"))
    before = sorted(site.rglob("*"))
    arguments = ("detect", glyph_run, "--support", support, "--images", photos, "--out", "found", "--min-score", "0.01")
    result = run(environment / "bin" / "repmet", *arguments, cwd=tmp_path, home=tmp_path / "home")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "found" / "results.json").read_text())
    assert "OneDL" not in result.stdout
    assert sorted(site.rglob("*")) == before
    assert sorted(p.name for p in tmp_path.iterdir()) in (["found"], ["found", "home"])
