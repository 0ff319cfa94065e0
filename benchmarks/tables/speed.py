"""The tables of side-by-side measurements: every case against its peer, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from repmet.benchmarks.tables.formatting import MISSING, NOTHING, markdown
from repmet.benchmarks.tables.registry import table, with_rows
from repmet.benchmarks.tables.runs import Run

_MEMORY = ("ours_mib", "peer_mib")
Case = dict[str, Mapping[str, Any]]  # rows of a case and peer by metric


@table("benchmarks-summary")
def summary(runs: Sequence[Run]) -> str:
    """A line a benchmark and peer: how many cases, and the geometric mean, least and greatest of their ratios."""
    groups: dict[tuple[str, str], list[float]] = {}
    for run in with_rows(runs, "timings"):
        for case in _cases(run):
            groups.setdefault((run.name, case["ratio"]["against"]), []).append(case["ratio"]["mean"])
    body = []
    for (name, peer), ratios in groups.items():
        bounds = (math.prod(ratios) ** (1 / len(ratios)), min(ratios), max(ratios))
        body.append([name, peer, str(len(ratios)), *(f"{ratio:.2f}x" for ratio in bounds)])
    return markdown(["benchmark", "peer", "cases", "peer's time / ours, geometric mean", "least", "greatest"], body, 2)


@table("benchmarks")
def benchmarks(runs: Sequence[Run]) -> str:
    """Every benchmark's cases against its peers, and the machine that it ran on.

    Images a second where rows count images, and memory where they measure it.
    """
    parts = []
    for run in with_rows(runs, "timings"):
        cases = list(_cases(run))
        rates = all("images" in case for case in cases)
        measured_memory = any(key in case for case in cases for key in _MEMORY)
        unit = "images/s" if rates else "ms"
        head = ["case", f"ours, {unit}", "peer", f"peer, {unit}", "ratio", "spread"]
        head += ["ours, MiB", "peer, MiB"] if measured_memory else []
        body = []
        for case in cases:
            ours, theirs = (
                1000 * case["images"]["mean"] / case[key]["mean"] if rates else case[key]["mean"]
                for key in ("ours_ms", "peer_ms")
            )
            ratio = case["ratio"]
            line = [ratio["case"], _three_digits(ours), ratio["against"], _three_digits(theirs), f"{ratio['mean']:.2f}x"]
            line.append(_spread(ratio.get("spread")))
            memory = [_three_digits(case[key]["mean"]) if key in case else MISSING for key in _MEMORY]
            body.append(line + (memory if measured_memory else []))
        machine = {"revision": run.revision, **run.environment}
        about = ", ".join(f"{key} {value}" for key, value in machine.items() if isinstance(value, str | int | float))
        parts.append(f"**{run.name}** ({about})\n\n" + markdown(head, body, 1))
    return "\n\n".join(parts) or NOTHING


@table("export-parity")
def export_parity(runs: Sequence[Run]) -> str:
    """What each runtime gives of each set against torch: boxes, scores before suppression, and AP50 of the detections."""
    body = []
    for run in with_rows(runs, "parity"):
        groups: dict[tuple[str, str], dict[str, Any]] = {}
        for row in run.rows["parity"]:
            groups.setdefault((row["set"], row["runtime"]), dict(row))[row["metric"]] = row["mean"]
        for (name, runtime), of in groups.items():
            same = of["chosen_otherwise"] < 1  # else there are no boxes to compare
            compared = [f"{of['pixels']:.4f}", f"{of['scores']:.6f}"] if same else ["–", "–"]
            figures = [f"{100 * of['chosen_otherwise']:.2f} %", *compared]
            figures += [f"{100 * of[key]:.1f}" for key in ("ap50_torch", "ap50")]
            body.append([name, runtime, str(of["images"]), *figures])
    head = ["set", "runtime", "images", "other boxes", "box, pixels", "score", "AP50 torch", "AP50"]
    return markdown(head, body, 2) if body else NOTHING


@table("tiles")
def tiles(runs: Sequence[Run]) -> str:
    """AP50 by the size of the objects, with tiles and without, the number of objects, and what an image costs."""
    sizes = ("all", "tiny", "small", "medium", "large")
    body = []
    for run in with_rows(runs, "tiles"):
        groups: dict[tuple[str, str], dict[str, Any]] = {}
        for row in run.rows["tiles"]:
            groups.setdefault((row["set"], row["tile"]), {"images": row["images"]})[row["metric"]] = row
        for (name, tile), of in groups.items():
            side = of["milliseconds"]["side"]
            cells = [_by_size(of.get(f"ap50_{size}")) for size in sizes]
            seconds = f"{of['milliseconds']['mean'] / 1e3:.2f}"
            body.append([name, f"{tile}, {side} pixels" if side else tile, str(of["images"]), *cells, seconds])
    head = ["set", "tiles", "images", "AP50", "below 16", "below 32", "32 to 96", "from 96", "s an image"]
    return markdown(head, body, 2) if body else NOTHING


def _by_size(row: Any) -> str:
    return MISSING if row is None else f"{100 * row['mean']:.1f} ({row['objects']})"


def _cases(run: Run) -> Iterator[Case]:
    cases: dict[tuple[str, str], Case] = {}
    for row in run.rows["timings"]:
        cases.setdefault((row["case"], row["against"]), {})[row["metric"]] = row
    yield from cases.values()


def _three_digits(value: float) -> str:
    """At least three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _spread(spread: Any) -> str:
    if isinstance(spread, list | tuple):
        return " to ".join(f"{value:.2f}" for value in spread)
    return MISSING if spread is None else f"{spread:.2f}"
