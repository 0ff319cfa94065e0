"""The files that an open project is expected to have say what is true of it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
TREES = ("benchmarks", "classification", "csrc", "data", "detection", "experiments", "model_definitions", "repmet", "tests")
VAGUE = {"found", "given", "most", "one", "own"}  # say what is found, given or counted: detections, options, max_images


def project() -> str:
    return (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def requirements(extra: str) -> list[str]:
    """The package names of an extra, in pyproject.toml's spelling; of the core with ""."""
    name = extra or "dependencies"
    (block,) = re.findall(rf"^{name} = \[(.*?)\]$", project().replace("mkdocstrings[python]", "mkdocstrings"), re.M | re.S)
    return re.findall(r'"([A-Za-z0-9_.-]+)', block)


def locked(name: str) -> dict[str, set[str]]:
    """Package -> its versions in a lock, one for each kind of system or Python."""
    versions: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        package, version = re.fullmatch(r"([a-z0-9_.-]+)==(\S+)(?: ; .+)?", line).groups()
        versions.setdefault(package, set()).add(version)
    return versions


def test_the_lean_lock_runs_and_no_more() -> None:
    lean = locked("requirements.lock")
    for extra in ("", "detection", "timm"):
        assert {name.lower() for name in requirements(extra)} <= set(lean), extra
    assert not set(lean) & {"pytest", "ruff", "mypy", "mkdocs", "nicegui", "openvino", "onnxruntime", "playwright", "wandb"}
    assert lean["torch"] == {"2.11.0"}
    assert lean["torchvision"] == {"0.26.0"}


def test_the_second_lock_adds_the_rest() -> None:
    lean, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    for extra in ("page", "runtime", "export", "docs", "similar", "test"):
        assert {name.lower() for name in requirements(extra)} <= set(lean) | set(dev), extra
    for package in set(lean) & set(dev):  # the second changes nothing that the first has installed
        assert lean[package] == dev[package], package


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_one_opencv(name) -> None:
    """The build without libGL, and no other."""
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("opencv-python=="):
            assert line.endswith("sys_platform == 'never'")


def test_citation_and_licence_agree_with_the_metadata() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f'version = "{citation["version"]}"' in project()
    assert f'license = "{citation["license"]}"' in project()
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert f"## {citation['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_hosted_ci_runs_make_test() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    assert "make test" in [step.get("run") for step in job["steps"]]
    oldest = re.search(r'requires-python = ">=([\d.]+)"', project())[1]
    assert oldest in job["strategy"]["matrix"]["python"]


def test_hooks_call_what_is_there() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert {"ruff-check", "ruff-format", "types"} <= {hook["id"] for hook in hooks}
    for hook in hooks:
        if hook["entry"].startswith("make "):
            assert hook["entry"].split()[1] in targets


def bindings(tree: ast.AST) -> Iterator[tuple[int, str | None]]:
    """Line and name of every variable, parameter, function, class and import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler):
            yield node.lineno, node.name
        elif isinstance(node, ast.alias):
            yield node.lineno, node.asname or node.name


def test_every_name_says_what_it_holds() -> None:
    files = [ROOT / "setup.py", *(path for tree in TREES for path in (ROOT / tree).rglob("*.py"))]
    assert len(files) > 500
    vague = [
        f"{path.relative_to(ROOT)}:{line}: {name} does not say what it holds"
        for path in sorted(files)
        for line, name in bindings(ast.parse(path.read_text(encoding="utf-8")))
        if name in VAGUE
    ]
    assert not vague, "\n" + "\n".join(vague)
