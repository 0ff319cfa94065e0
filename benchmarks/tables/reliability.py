"""The table of the reliability campaign: how many odd files and kills ended how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from repmet.benchmarks.tables.formatting import NOTHING, markdown
from repmet.benchmarks.tables.registry import table, with_rows
from repmet.benchmarks.tables.runs import Run


@table("reliability")
def reliability(runs: Sequence[Run]) -> str:
    """By case and command: how many ended in the right result, and in one line that names the file. There is no third."""
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for run in with_rows(runs, "reliability"):
        for row in run.rows["reliability"]:
            counts[row["case"], row["command"]][row["metric"]] = int(row["mean"])
    if not counts:
        return NOTHING
    body = [[*of, str(n["right"] + n["refused"]), str(n["right"]), str(n["refused"])] for of, n in sorted(counts.items())]
    sums = [sum(int(line[column]) for line in body) for column in (2, 3, 4)]
    return markdown(["case", "command", "tried", "right", "refused in one line"], [*body, ["all", "", *map(str, sums)]], 2)
