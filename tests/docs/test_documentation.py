"""README, CONTRIBUTING and docs/: commands, files and links that they name are there, and their Python runs or compiles."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_TABLE = re.compile(r"<!-- results:.*?<!-- /results -->", re.DOTALL)
_FENCED = re.compile(r"(?:<!-- test: (?P<test>\w+) -->\n)?```(?P<kind>\w+)\n(?P<code>.*?)```", re.DOTALL)


def text_of(page: Path) -> str:
    """A page without its generated tables."""
    return _TABLE.sub("", page.read_text(encoding="utf-8"))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code(kind: str) -> list:
    """Every fenced block of a language, as (page, name of its test, code)."""
    return [
        pytest.param(match["test"], match["code"], id=f"{name_of(page)}:{n}")
        for page in PAGES
        for n, match in enumerate(m for m in _FENCED.finditer(text_of(page)) if m["kind"] == kind)
    ]


def marked(name: str) -> str:
    """The code of the block that is marked `<!-- test: NAME -->`."""
    (found,) = [block.values[1] for block in code("python") if block.values[0] == name]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_named_in_code_font_is_there(page) -> None:
    for path in re.findall(
        r"`((?:experiments|data|docs|models|model_definitions|detection|classification)/[^`\s]*)`", text_of(page)
    ):
        if path.startswith("data/cache") or "my_" in path:
            continue
        assert list(ROOT.glob(path.rstrip("/"))) if "*" in path else (ROOT / path).exists(), path


def test_experiments_in_the_tables_are_there() -> None:
    tree = ""
    for line in text_of(ROOT / "docs/train.md").splitlines():
        if head := re.match(r"\| `(experiments/\w+/)` \|", line):
            tree = head[1]
        elif line.startswith("| `") and tree:
            for name in re.findall(r"`([^`]+\.yaml)`", line.split("|")[1]):
                assert list((ROOT / tree).glob(name)) or name.startswith("..."), name


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_out_of_the_site_lead_somewhere(page) -> None:
    """Those within the site are checked where it is built."""
    for target in re.findall(r"\]\(([^)#]+)", text_of(page)):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize(("_name", "block"), code("yaml"))
def test_yaml_is_yaml(_name, block) -> None:
    assert isinstance(yaml.safe_load(block), dict)


def test_the_readme_is_short_and_has_one_table_of_six_rows() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    (table,) = _TABLE.findall(readme)
    assert sum(line.startswith("|") for line in table.splitlines()) == 2 + 6


def test_the_lines_of_class_trees() -> None:
    K, d = 7, 5
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, d))
    x, y, D = torch.randn(20, 3, 4), torch.arange(20) % K, torch.rand(K, K)
    names = {"backbone": backbone, "K": K, "d": d, "x": x, "y": y, "D": (D + D.T).fill_diagonal_(0)}
    names["cross_entropy"] = nn.functional.cross_entropy
    exec(marked("prototypes"), names)
    names["loss"].backward()
    assert names["model"](x).shape == (20, K)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in names["model"].parameters())


def test_the_distances_of_a_tree() -> None:
    names: dict = {}
    exec(marked("tree"), names)
    D = names["D"]
    assert D.shape == (100, 100)
    assert torch.equal(D, D.T) and not D.diagonal().any()
