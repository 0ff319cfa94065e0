"""README, CONTRIBUTING and docs/: commands, files and links that they name are there, and their Python runs or compiles."""

import contextlib
import functools
import importlib
import io
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from repmet.experiments.config.suites import experiments_below

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXPERIMENTS = [Path(address).relative_to(ROOT).as_posix() for address in experiments_below(ROOT / "experiments")]
_TABLE = re.compile(r"<!-- results:.*?<!-- /results -->", re.DOTALL)
_FENCED = re.compile(r"(?:<!-- test: (?P<test>\w+) -->\n)?```(?P<kind>\w+)\n(?P<code>.*?)```", re.DOTALL)


def text_of(page: Path) -> str:
    """A page without its generated tables."""
    return _TABLE.sub("", page.read_text(encoding="utf-8"))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(page: Path) -> list[list[str]]:
    """What is typed, in indented blocks: `repmet ...`, `python -m ...`, `torchrun ...`, `make ...`; without comments."""
    prose = _FENCED.sub("", text_of(page)).replace("\\\n", " ")
    lines = [line.strip() for line in prose.splitlines() if line.startswith("    ")]
    typed = [shlex.split(line, comments=True) for line in lines if re.match(r"(repmet|\S*python|torchrun|make) ", line)]
    return [words[: words.index("&&")] if "&&" in words else words for words in typed]


def code(kind: str) -> list:
    """Every fenced block of a language, as (page, name of its test, code)."""
    return [
        pytest.param(match["test"], match["code"], id=f"{name_of(page)}:{n}")
        for page in PAGES
        for n, match in enumerate(m for m in _FENCED.finditer(text_of(page)) if m["kind"] == kind)
    ]


def marked(name: str) -> str:
    """The code of the block that is marked `<!-- test: NAME -->`."""
    (block_code,) = [block.values[1] for block in code("python") if block.values[0] == name]
    return block_code


@functools.cache
def help_of(module: str, *words: str) -> str:
    """What `python -m MODULE WORDS --help` prints."""
    said, argv = io.StringIO(), sys.argv
    sys.argv = [module, *words, "--help"]
    try:
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
            runpy.run_module(module if module == "repmet" else f"repmet.{module}", run_name="__main__")
    finally:
        sys.argv = argv
    assert ended.value.code in (0, None), (module, words)
    return said.getvalue()


def program_of(words: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """The module that a typed command runs (with the subcommand of `repmet`, and its experiment), and its arguments."""
    if words[0] != "repmet":
        words = words[words.index("-m") + 1 :]
    if words[0] != "repmet":
        return (words[0],), words[1:]
    tree = [word for word in words[2:3] if words[1] in ("train", "evaluate")]
    return ("repmet", words[1], *(known(tree))), words[2:]


def known(experiments: list[str]) -> list[str]:
    """An experiment that the reader is to write is like another one of its suite or folder."""

    def like(name: str) -> str:
        place = name.rpartition(":" if ":" in name else "/")[0]
        return next(address for address in EXPERIMENTS if address.startswith(place))

    return [name if name in EXPERIMENTS else like(name) for name in experiments]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_there_with_the_options_that_they_are_given(page) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(page):
        if words[0] == "make":
            assert words[1] in targets, words
            continue
        if words[0] != "repmet" and "-m" not in words:
            continue
        program, arguments = program_of(words)
        if program[0] in ("pip", "pytest"):
            continue
        said = help_of(*program)
        for word in arguments:
            if word.startswith("--"):
                assert re.search(rf"{word}\b", said), f"{' '.join(program)} has no {word}"
            if word.startswith("experiments/") and "my_" not in word:
                assert word in EXPERIMENTS, word


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
        if head := re.match(r"\| `(experiments/[\w/]+/)` \|", line):
            tree = head[1]
        elif line.startswith("| `") and tree:
            for name in re.findall(r"`([^`]+\.yaml)(?::\*)?`", line.split("|")[1]):
                assert list((ROOT / tree).glob(name)) or name.startswith("..."), name


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_out_of_the_site_lead_somewhere(page) -> None:
    """Those within the site are checked where it is built."""
    for target in re.findall(r"\]\(([^)#]+)", text_of(page)):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize(("_name", "block"), code("python"))
def test_python_compiles_and_imports_what_is_there(_name, block) -> None:
    compile(block, "page", "exec")
    for module, names in re.findall(r"^from (repmet[\w.]*) import (.+)$", block, re.MULTILINE):
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


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
