"""Side-by-side timing: two functions, in turn, in one process, so that both meet the same machine in the same state."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from repmet.data.files import atomic
from repmet.experiments.running.provenance import git_revision, invocation, processor, versions


@dataclass(frozen=True)
class Comparison:
    """One row of a benchmark.

    `ours_ms` and `peer_ms` are medians of one call; `ratio` is peer / ours of these medians (above 1: ours is quicker);
    `iqr` is the distance between the quartiles of the ratio of neighbouring measurements.
    """

    case: str
    ours_ms: float
    peer: str
    peer_ms: float
    ratio: float
    iqr: float


def _timer(function: Callable[[], object], synchronise: Callable[[], None]) -> Callable[[], float]:
    """A function that returns the seconds of one call, measured over as many calls as fill 2 ms."""
    function()
    synchronise()
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        synchronise()
        elapsed = time.perf_counter() - start
        if elapsed > 2e-3 or calls >= 1 << 16:
            break
        calls *= 2

    def measure() -> float:
        synchronise()
        start = time.perf_counter()
        for _ in range(calls):
            function()
        synchronise()
        return (time.perf_counter() - start) / calls

    return measure


def compare(
    case: str,
    ours: Callable[[], object],
    peer: str,
    theirs: Callable[[], object],
    *,
    seconds: float = 3.0,
    rounds: tuple[int, int] = (5, 41),
    device: str = "cpu",
) -> Comparison:
    """Times `ours` and `theirs` in turn, for about `seconds`, at least rounds[0] and at most rounds[1] times each."""
    synchronise = torch.cuda.synchronize if device == "cuda" else lambda: None
    timers = _timer(ours, synchronise), _timer(theirs, synchronise)
    pairs: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(pairs) < rounds[0] or (len(pairs) < rounds[1] and time.perf_counter() - start < seconds):
        if len(pairs) % 2:  # neither is always the first
            late, early = timers[1](), timers[0]()
            pairs.append((early, late))
        else:
            pairs.append((timers[0](), timers[1]()))
    mine, other = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
    low, _, high = statistics.quantiles([b / a for a, b in pairs], n=4)
    return Comparison(case, mine, peer, other, other / mine, high - low)


def environment(device: str = "cpu") -> dict:
    """What the figures depend on: versions, processor or GPU, threads, git revision."""
    return {
        "versions": versions(),
        "git": git_revision(),
        "device": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def format_table(results: Sequence[Comparison]) -> str:
    """The rows as a Markdown table."""
    lines = ["| case | ours, ms | peer | peer, ms | ratio | spread |", "|---|---:|---|---:|---:|---:|"]
    for r in results:
        lines.append(f"| {r.case} | {r.ours_ms:.3g} | {r.peer} | {r.peer_ms:.3g} | {r.ratio:.2f}x | {r.iqr:.2f} |")
    return "\n".join(lines)


def write_json(path: str | Path, env: dict, results: Sequence[Comparison]) -> None:
    """Writes {"command": ..., "env": ..., "results": [...]}, whole or not at all."""
    content = {"command": invocation(), "env": env, "results": [asdict(result) for result in results]}
    atomic.write_json(path, content)
