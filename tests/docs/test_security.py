"""docs/security.md: each claim names tests, and they are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = re.sub(
    r"<!-- results:.*?<!-- /results -->", "", (ROOT / "docs/security.md").read_text(encoding="utf-8"), flags=re.DOTALL
)
CLAIMS = [line for line in PAGE.splitlines() if line.startswith("| ") and "proved by" not in line]


def test_there_are_claims() -> None:
    assert len(CLAIMS) >= 15


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda line: line.split("|")[1].strip())
def test_the_test_that_proves_it_is_there(claim) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", claim.split("|")[-2])
    assert named
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
