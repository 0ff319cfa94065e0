"""Who may know whom: no tree imports one that stands above or beside it."""

import ast
from pathlib import Path

import pytest

import repmet

ROOT = Path(__file__).parents[1]
MAY_KNOW = {
    "csrc": set(),
    "model_definitions": {"csrc"},
    "data": set(),
    "experiments": {"data", "model_definitions"},
    "classification": {"data", "experiments", "model_definitions"},
    "detection": {"data", "experiments", "model_definitions"},
    "benchmarks": {"classification", "csrc", "data", "detection", "experiments", "model_definitions"},
}
# Inside of detection the folders are the stages of the data, in order; metrics know plain arrays alone.
STAGES = ("episodes", "embedding", "scoring", "protocols", "pictures")


def imported(path: Path) -> set[str]:
    """The modules that a file imports, at its top or in a function; and the names that it takes from them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_trees(path: Path) -> set[str]:
    """The trees that a file imports, at its top or in a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inner if node.module == "repmet" else {str(node.module)}
    parts = [name.split(".") for name in names]
    trees = {p[1] for p in parts if p[0] == "repmet" and len(p) > 1} | {p[0] for p in parts}
    return trees & MAY_KNOW.keys()


@pytest.mark.parametrize("tree", MAY_KNOW)
def test_no_tree_looks_up_or_aside(tree):
    files = list((ROOT / tree).rglob("*.py"))
    assert files
    for path in files:
        strangers = imported_trees(path) - MAY_KNOW[tree] - {tree}
        assert not strangers, f"{path.relative_to(ROOT)} imports {', '.join(sorted(strangers))}"


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_of_detection_knows_a_later_one(stage):
    later = STAGES[STAGES.index(stage) + 1 :]
    files = list((ROOT / "detection" / stage).rglob("*.py"))
    assert files
    for path in files:
        folders = {tuple(name.split(".")[1:3]) for name in imported(path)}
        known = [other for other in later if ("detection", other) in folders]
        assert not known, f"{path.relative_to(ROOT)} imports {', '.join(known)}"


@pytest.mark.parametrize(
    ("stage", "later"), [("inputs", ("methods", "protocols", "pictures")), ("methods", ("protocols", "pictures"))]
)
def test_no_stage_of_classification_knows_a_later_one(stage, later):
    for path in (ROOT / "classification" / stage).rglob("*.py"):
        folders = {tuple(name.split(".")[1:3]) for name in imported(path)}
        known = [other for other in later if ("classification", other) in folders]
        assert not known, f"{path.relative_to(ROOT)} imports {', '.join(known)}"


def test_the_metrics_of_detection_know_nobody():
    for path in (ROOT / "detection" / "metrics").rglob("*.py"):
        ours = [n for n in imported(path) if n.startswith("repmet.") and not n.startswith("repmet.detection.metrics")]
        assert not ours, f"{path.relative_to(ROOT)} imports {', '.join(sorted(ours))}"


# What runs where torch cannot be imported.
WITHOUT_TORCH = ("repmet/runtime", "detection/exported", "classification/exported")
HEAVY = {"torch", "torchvision", "mmengine", "mmcv", "mmdet", "timm"}


def at_import(path: Path) -> set[str]:
    """The modules that a file imports when it is imported itself: at its top, and not for types alone."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            below = ".".join(path.relative_to(ROOT).parts[: -node.level])
            names |= {f"repmet.{below}.{node.module}"}
    return names


def file_of(name: str) -> Path | None:
    """The file of a module of ours."""
    first, *parts = name.split(".")
    places = [folder.joinpath(*parts) for folder in (ROOT, ROOT / "repmet")] if first == "repmet" and parts else []
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


@pytest.mark.parametrize("folder", WITHOUT_TORCH)
def test_what_runs_without_torch_imports_nobody_that_needs_it(folder):
    waiting = [(path, path.name) for path in (ROOT / folder).rglob("*.py")]
    assert waiting
    seen = {path for path, _ in waiting}
    while waiting:
        path, way = waiting.pop()
        for name in at_import(path):
            assert name.split(".")[0] not in HEAVY, f"{way} imports {name}"
            file = file_of(name)
            if file is not None and file not in seen:
                seen.add(file)
                waiting.append((file, f"{way} > {file.relative_to(ROOT)}"))
    assert ROOT / "detection" / "results.py" in seen or folder != "repmet/runtime"


def test_the_page_knows_the_public_face_alone():
    """And of what the face itself is made of, only what says how files, errors and the installation are handled."""
    helpers = ("errors", "files", "installation", "label_studio_region", "page", "progress")
    public = {f"repmet.{name}" for name in repmet.__all__}
    files = list((ROOT / "repmet" / "page").rglob("*.py"))
    assert files
    for path in files:
        ours = {name for name in imported(path) if name.partition(".")[0] in {"repmet", *MAY_KNOW}}
        strangers = [name for name in ours - public if not name.startswith(tuple(f"repmet.{helper}" for helper in helpers))]
        assert not strangers, f"{path.relative_to(ROOT)} imports {', '.join(sorted(strangers))}"
