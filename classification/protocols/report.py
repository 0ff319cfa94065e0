"""What an evaluation says: a printed table, and metrics.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repmet.data.files.atomic import write_json


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Result rows as text, percent with the half-width of the 95 % interval."""
    cells = [
        (row["dataset"], row["split"], row["method"], row["metric"], percent(row["mean"], row["ci95"]), f"{row['n']:,}")
        for row in rows
    ]
    return aligned([("data", "split", "method", "metric", "%", "n"), *cells])


def comparison_table(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Paired differences as text: by how many percentage points the first checkpoint is better, and whether that is sure."""
    cells = []
    for row in rows:
        sure = "yes" if row["ci95"] is not None and abs(row["mean"]) > row["ci95"] else "no"
        sign = "+" if row["mean"] >= 0 else ""
        cells.append((row["metric"], sign + percent(row["mean"], row["ci95"]), f"{row['n']:,}", sure))
    head = f"{name}\n  against {rows[0]['against']}, difference on the same episodes or images in percentage points\n"
    return head + aligned([("metric", "difference", "n", "beyond chance (95 %)"), *cells])


def write_metrics(metrics: Mapping[str, Any], folder: Path) -> Path:
    """Writes `metrics.json` whole or not at all, and returns its path."""
    path = folder / "metrics.json"
    write_json(path, metrics)
    return path


def percent(mean: float, ci95: float | None) -> str:
    """A fraction in percent, with the half-width of its interval where there is one."""
    return f"{100 * mean:.2f}" + ("" if ci95 is None else f" ± {100 * ci95:.2f}")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the first the head, in columns."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
