"""The tables of benchmarks: every case against its peer, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from repmet.experiments.result_tables import NOTHING, Result, markdown, rows_have, table

_MEMORY = ("ours_mib", "peer_mib")


def is_benchmark(content: Mapping[str, Any]) -> bool:
    """Whether a benchmark wrote this."""
    return "env" in content and rows_have(content, "case")


@table("benchmarks-summary", reads=is_benchmark)
def summary(results: Sequence[Result]) -> str:
    """A row a benchmark and peer: how many cases, and the geometric mean, least and greatest of their ratios."""
    groups: dict[tuple[str, str], list[float]] = {}
    for result in results:
        for row in result.content["results"]:
            groups.setdefault((result.name, str(row["peer"])), []).append(row["ratio"])
    body = [
        [name, peer, str(len(found)), *(f"{v:.2f}x" for v in (math.prod(found) ** (1 / len(found)), min(found), max(found)))]
        for (name, peer), found in groups.items()
    ]
    head = ["benchmark", "peer", "cases", "peer's time / ours, geometric mean", "least", "greatest"]
    return markdown(head, body, 2) if body else NOTHING


@table("benchmarks", reads=is_benchmark)
def benchmarks(results: Sequence[Result]) -> str:
    """Every benchmark's cases against its peers, and the machine that it ran on.

    Images a second where rows count images, and memory where they measure it.
    """
    parts = []
    for result in results:
        rows = result.content["results"]
        rates = bool(rows) and all("images" in row for row in rows)
        unit = "images/s" if rates else "ms"
        body = []
        for row in rows:
            ours, theirs = (1000 * row["images"] / row[key] if rates else row[key] for key in ("ours_ms", "peer_ms"))
            ratio, spread = f"{row['ratio']:.2f}x", _iqr(row.get("iqr"))
            memory = [_three_digits(row[key]) for key in _MEMORY if row.get(key) is not None]
            body.append([row["case"], _three_digits(ours), str(row["peer"]), _three_digits(theirs), ratio, spread, *memory])
        machine = ", ".join(f"{k} {v}" for k, v in result.content["env"].items() if isinstance(v, str | int | float))
        head = ["case", f"ours, {unit}", "peer", f"peer, {unit}", "ratio", "spread"]
        if any(row.get(key) is not None for row in rows for key in _MEMORY):
            head += ["ours, MiB", "peer, MiB"]
            body = [row + ["–"] * (len(head) - len(row)) for row in body]
        parts.append(f"**{result.name}** ({machine})\n\n" + markdown(head, body, 1))
    return "\n\n".join(parts) or NOTHING


def _three_digits(value: float) -> str:
    """At least three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _iqr(iqr: Any) -> str:
    if isinstance(iqr, list | tuple):
        return " to ".join(f"{value:.2f}" for value in iqr)
    return "–" if iqr is None else f"{iqr:.2f}"
