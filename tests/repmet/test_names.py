"""The package by its names: light to import, lazy in what it offers, and every module there once."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import repmet
from repmet.installation import version

ROOT = Path(__file__).parents[2]


def python(program: str, cwd: Path = ROOT) -> str:
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_it_takes_no_time_and_brings_nothing() -> None:
    program = """
import time; start = time.process_time()
import repmet; seconds = time.process_time() - start
import json, sys
print(json.dumps([seconds, sorted({"torch", "numpy", "PIL", "mmengine", "mmdet"} & sys.modules.keys()), dir(repmet)]))
"""
    seconds, heavy, names = min(json.loads(python(program)) for _ in range(3))
    assert heavy == []
    assert seconds < 0.3
    assert set(repmet.__all__) <= set(names)


def test_versions_agree() -> None:
    assert repmet.__version__ == version() == "0.1.0"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'FewShotDetectr'"):
        repmet.FewShotDetectr  # noqa: B018


def test_without_mmdet_the_detector_names_its_extra(monkeypatch) -> None:
    def without(name: str) -> None:
        raise ModuleNotFoundError("No module named 'mmdet'", name="mmdet.registry")

    monkeypatch.setattr(importlib, "import_module", without)
    monkeypatch.delitem(vars(repmet), "FewShotDetector", raising=False)
    with pytest.raises(
        ImportError, match=r"^FewShotDetector needs the extra `detection`: pip install 'repmet\[detection\]'$"
    ):
        repmet.FewShotDetector  # noqa: B018


def test_no_module_is_loaded_under_two_names() -> None:
    """However a module is imported, also by `python -m`: each file is one module, and each class registered once."""
    program = """
import collections, contextlib, io, json, runpy, sys
import repmet.detection.modules
before = repmet.detection.modules.RepMetBBoxHead
import detection.modules, classification.methods, data.files.decoding, csrc
import repmet.classification.methods
from model_definitions.representatives import Representatives
import repmet.model_definitions.representatives as full
same = [
    detection.modules is repmet.detection.modules, detection.modules.RepMetBBoxHead is before,
    classification.methods.RepMet is repmet.classification.methods.RepMet, Representatives is full.Representatives,
]
sys.argv = ["detection.train", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    runpy.run_module("detection.train", run_name="__main__", alter_sys=True)
by_file, ours = collections.defaultdict(dict), []
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if name != "__main__" and ROOT in file and "site-packages" not in file:  # the environment may lie in the checkout
        by_file[file][id(module)] = name
        ours.append(name)
twice = [list(names.values()) for names in by_file.values() if len(names) > 1]
print(json.dumps([same, twice, len(ours), "--novel" in out.getvalue()]))
""".replace("ROOT", repr(str(ROOT)))
    same, twice, number, helped = json.loads(python(program).splitlines()[-1])
    assert all(same) and helped
    assert number > 50
    assert twice == []


def test_a_name_that_is_not_there_is_said_as_it_was_asked_for() -> None:
    program = """
import importlib
for name in ("data.nothing", "repmet.data.nothing", "data.files.nothing"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert python(program).split() == ["data.nothing", "repmet.data.nothing", "data.files.nothing"]
