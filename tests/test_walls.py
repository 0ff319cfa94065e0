"""Who may know whom: no tree imports one that stands above or beside it."""

import ast
from pathlib import Path

import pytest

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
