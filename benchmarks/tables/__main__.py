"""Keeps results, and writes the tables of kept ones into the pages: python -m benchmarks.tables [--check]

    python -m benchmarks.tables --keep comparison work_dirs/flowers17_frozen_softmax_{0,1,2}/metrics.json

Results are kept in models/results, a JSON-lines file a family: only what a committed revision of this history measured, and
nothing typed by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from repmet.benchmarks.tables.keeping import RESULTS, check_new, keep, measured, replaced
from repmet.benchmarks.tables.pages import fill_pages
from repmet.benchmarks.tables.runs import read_runs
from repmet.errors import UserError, one_line


def main(arguments: Sequence[str] | None = None, prog: str = "python -m benchmarks.tables") -> int:
    """The command; 1 with `--check` where a page is not up to date, 2 for what is wrong with the files."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a table is out of date")
    parser.add_argument("--keep", nargs="+", metavar=("FAMILY", "FILE"), help="add what commands wrote as JSON to a family")
    parser.add_argument("--command", action="append", default=[], help="that made it, where the file does not say")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2], help="the project's folder")
    options = parser.parse_args(arguments)
    family, *files = options.keep or [""]
    if options.keep and (not files or options.check):
        parser.error("--keep takes FAMILY and FILE..., and no --check")
    try:
        new = measured(family, [Path(file) for file in files], options.root, options.command) if files else []
        runs = replaced(read_runs(options.root / RESULTS), new)
        check_new(runs, options.root)
        stale = fill_pages(options.root, runs, write=False)  # all that may be refused comes before anything is written
        if new:
            keep(new, options.root)
            print("\n".join(f"kept: {run}" for run in new))
        if not options.check:
            fill_pages(options.root, runs)
    except (UserError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    if options.check and stale:
        print(f"out of date: {', '.join(stale)}; run `make results`", file=sys.stderr)
        return 1
    print(f"{len(runs)} kept runs; " + (f"wrote {', '.join(stale)}" if stale else "all tables are up to date"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
