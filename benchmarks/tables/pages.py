"""Pages with tables: between `<!-- results:NAME -->` and `<!-- /results -->` stands the table NAME."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import repmet.benchmarks.tables.checkpoints
import repmet.benchmarks.tables.classification
import repmet.benchmarks.tables.comparison
import repmet.benchmarks.tables.costs
import repmet.benchmarks.tables.detection
import repmet.benchmarks.tables.few_shot_images
import repmet.benchmarks.tables.labels
import repmet.benchmarks.tables.own_data
import repmet.benchmarks.tables.page_tables
import repmet.benchmarks.tables.reliability
import repmet.benchmarks.tables.scale
import repmet.benchmarks.tables.scores
import repmet.benchmarks.tables.speed
import repmet.benchmarks.tables.summary
import repmet.benchmarks.tables.trials  # noqa: F401  (these register their tables)
from repmet.benchmarks.tables.registry import render
from repmet.benchmarks.tables.runs import Run
from repmet.data.files.atomic import write_text
from repmet.errors import UserError

PAGES = (
    "README.md",
    "docs/detect.md",
    "docs/label.md",
    "docs/security.md",
    "docs/at-scale.md",
    "docs/page.md",
    "docs/runtime.md",
    "docs/results/index.md",
    "docs/results/detection.md",
    "docs/results/scores.md",
    "docs/results/classification.md",
    "docs/results/class-trees.md",
    "docs/results/retrieval.md",
    "docs/results/speed.md",
    "docs/results/checkpoints.md",
)

_MARKED = re.compile(r"(<!-- results:(?P<name>[^\s>]*) -->)(?P<body>.*?)(<!-- /results -->)", re.DOTALL)
_ANY_MARKER = re.compile(r"<!--\s*/?\s*results\b.*?-->")


def fill(text: str, runs: Sequence[Run]) -> str:
    """A page with its tables made anew.

    Raises:
        ValueError: a marker is not closed, misspelt or names no table.
    """

    def fresh(match: re.Match) -> str:
        if _ANY_MARKER.search(match["body"]):
            raise UserError(f"the marker {match[1]} is not closed by <!-- /results -->")
        return f"{match[1]}\n{render(match['name'], runs)}\n{match[4]}"

    filled = _MARKED.sub(fresh, text)
    if stray := _ANY_MARKER.search(_MARKED.sub("", text)):
        raise UserError(f"the marker {stray[0]} is misspelt or has no partner (<!-- results:NAME --> ... <!-- /results -->)")
    return filled


def fill_pages(root: Path, runs: Sequence[Run], *, write: bool = True) -> list[str]:
    """Makes the tables of all pages anew, and returns those pages that were out of date; all are read before one is written.

    Raises:
        ValueError: a page is missing, or as `fill`.
    """
    stale = {}
    for page in PAGES:
        if not (root / page).is_file():
            raise UserError(f"{root / page}: not found; the tables are written between the markers of this page")
        text = (root / page).read_text(encoding="utf-8")
        try:
            filled = fill(text, runs)
        except ValueError as error:
            raise UserError(f"{page}: {error}") from error
        if filled != text:
            stale[page] = filled
    for page, text in stale.items() if write else ():
        write_text(root / page, text)
    return list(stale)
