"""How tables spell numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "*Nothing measured yet.*"
MISSING = "–"


def markdown(head: Sequence[str], body: Sequence[Sequence[str]], left: int, *, left_from: int | None = None) -> str:
    """A table whose first `left` columns, and those from `left_from`, are set flush left; the others, numbers, right."""
    if not body:
        return NOTHING
    last = len(head) if left_from is None else left_from
    rule = ["---" if k < left or k >= last else "---:" for k in range(len(head))]
    rows = [[str(cell).replace("|", "\\|") for cell in row] for row in (head, rule, *body)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def percent(fraction: float | None) -> str:
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def percent_interval(row: Mapping[str, Any], digits: int = 1) -> str:
    """A fraction in percent with its interval, where it has one: `± half-width`, or [low, high]."""
    mean, ci95 = row["mean"], row.get("ci95")
    if mean is None:
        return MISSING
    text = f"{100 * mean:.{digits}f}"
    if ci95 is None:
        return text
    if isinstance(ci95, Sequence):
        return f"{text} [{', '.join(f'{100 * side:.{digits}f}' for side in ci95)}]"
    return f"{text} ± {100 * ci95:.{digits}f}"


def error_interval(row: Mapping[str, Any]) -> str:
    """An accuracy as the error that is left, in percent."""
    return percent_interval({**row, "mean": 1 - row["mean"]})


def count(number: float | None) -> str:
    """With thousands set apart."""
    return MISSING if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """Minutes, from an hour on hours and minutes."""
    if seconds is None:
        return MISSING
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{seconds / 60:.1f} min"


def memory(size: float | None) -> str:
    """Bytes in GiB."""
    return MISSING if size is None else f"{size / 2**30:.2f} GiB"


def seeds_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """All seeds of some figures; more than three in a row as `0–9`."""
    runs: list[list[int]] = []
    for seed in sorted({seed for row in rows for seed in row["seeds"]}):
        if runs and runs[-1][-1] == seed - 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 3 else ", ".join(map(str, run)) for run in runs)
