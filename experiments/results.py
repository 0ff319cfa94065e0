"""Writes the tables of measured results into README.md and models/README.md: python -m experiments.results [--check]

Between `<!-- results:NAME -->` and `<!-- /results -->` stands what the function of that name in one of the modules of tables
makes of the files in models/results/. Nothing measured is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import repmet.experiments.benchmark_tables
import repmet.experiments.checkpoint_table
import repmet.experiments.classification_tables
import repmet.experiments.comparison_table
import repmet.experiments.cost_difference_table
import repmet.experiments.kshot_table
import repmet.experiments.retrieval_table  # noqa: F401  (these register their tables)
from repmet.experiments.result_tables import TABLES, Result

PAGES = ("README.md", "models/README.md")
RESULTS = "models/results"
_MARKED = re.compile(r"(<!-- results:(?P<name>[^\s>]*) -->)(?P<body>.*?)(<!-- /results -->)", re.DOTALL)
_ANY_MARKER = re.compile(r"<!--\s*/?\s*results\b.*?-->")


def read_results(folder: Path) -> list[Result]:
    """All JSON files of a folder and of those in it, by name: `demo`, `comparison/flowers17_frozen_softmax_0`.

    Raises:
        ValueError: a file is not JSON, or of a kind that no table reads.
    """
    results = []
    for path in sorted(folder.rglob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not valid JSON: {error}") from error
        if not isinstance(content, dict) or not any(table.reads(content) for table in TABLES.values()):
            raise ValueError(
                f"{path}: neither the metrics.json of an experiment (experiment, results with a protocol or a metric) nor a "
                "benchmark's (env, results with a case)"
            )
        results.append(Result(path.relative_to(folder).with_suffix("").as_posix(), content))
    return results


def render(name: str, results: Sequence[Result]) -> str:
    """The markdown of one table.

    Raises:
        ValueError: there is no such table, or a file lacks something that it needs.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; those there are: {', '.join(sorted(TABLES))}")
    table = TABLES[name]
    chosen = [result for result in results if table.reads(result.content)]
    try:
        return table.render(chosen)
    except (KeyError, TypeError, AttributeError) as error:
        for result in chosen:  # which file is it?
            try:
                table.render([result])
            except (KeyError, TypeError, AttributeError) as cause:
                reason = f"it lacks {cause}" if isinstance(cause, KeyError) else cause
                raise ValueError(f"{RESULTS}/{result.name}.json does not fit the table {name!r}: {reason}") from error
        raise


def fill(text: str, results: Sequence[Result]) -> str:
    """A page with its tables made anew.

    Raises:
        ValueError: a marker is not closed, misspelt or names no table.
    """

    def fresh(match: re.Match) -> str:
        if _ANY_MARKER.search(match["body"]):
            raise ValueError(f"the marker {match[1]} is not closed by <!-- /results -->")
        return f"{match[1]}\n{render(match['name'], results)}\n{match[4]}"

    filled = _MARKED.sub(fresh, text)
    if stray := _ANY_MARKER.search(_MARKED.sub("", text)):
        raise ValueError(
            f"the marker {stray[0]} is misspelt or has no partner (<!-- results:NAME --> ... <!-- /results -->)"
        )
    return filled


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 with `--check` where a page is not up to date, 2 for what is wrong with the files."""
    parser = argparse.ArgumentParser(prog="python -m experiments.results", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a table is out of date")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the project's folder")
    options = parser.parse_args(arguments)
    stale = []
    try:
        results = read_results(options.root / RESULTS)
        pages = {}
        for page in PAGES:
            path = options.root / page
            if not path.is_file():
                raise ValueError(f"{path}: not found; the tables are written between the markers of this page")
            text = path.read_text(encoding="utf-8")
            try:
                pages[path] = text, fill(text, results)
            except ValueError as error:
                raise ValueError(f"{page}: {error}") from error
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path, (old, new) in pages.items():
        if old != new:
            stale.append(path.relative_to(options.root).as_posix())
            if not options.check:
                path.write_text(new, encoding="utf-8")
    if options.check and stale:
        print(f"out of date: {', '.join(stale)}; run `make results`", file=sys.stderr)
        return 1
    print(f"{len(results)} result files; " + (f"wrote {', '.join(stale)}" if stale else "all tables are up to date"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
