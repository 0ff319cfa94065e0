"""What an image costs on a CPU: the shipped detector by torch, ONNX Runtime and OpenVINO, and torchvision's Faster R-CNN.

    python -m benchmarks.latency [--threads 2] [--rounds 15] [--out FILE]

From an array of 384 x 288 pixels to detections of ten classes, one image at a time, without decoding. All take turns in one
process, so that each meets the machine in the same state; the figures are medians, the ratios those of neighbouring turns.
Memory is the most that a process of its own holds, imports included. Other people's detectors have random weights: they
cost the same time as trained ones and say nothing of accuracy. Their files are the size of their weights in float32.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repmet.benchmarks.latency_cases import CLASSES, PEERS, RUNTIMES, TORCH, opened, scene
from repmet.benchmarks.measure import Comparison, environment, format_table, write_json
from repmet.errors import exit_code


@dataclass(frozen=True)
class Latency(Comparison):
    """With the peak memory of each one's process, in MiB, and the size of each one's files, in MB."""

    ours_mib: float
    peer_mib: float
    ours_mb: float
    peer_mb: float


def measure(folder: Path, threads: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Milliseconds of each detector, round by round, and the sizes of its files."""
    names = [*RUNTIMES, TORCH, *PEERS]
    with contextlib.ExitStack() as stack:
        ready = {name: stack.enter_context(opened(name, folder, threads)) for name in names}
        times: dict[str, list[float]] = {name: [] for name in names}
        for number in range(-2, rounds):
            for name in names if number % 2 else reversed(names):  # none is always the first
                image = scene(2000 + number)
                start = time.perf_counter()
                ready[name][0](image)
                if number >= 0:
                    times[name].append((time.perf_counter() - start) * 1e3)
        return times, {name: ready[name][1] for name in names}


def memory(name: str, folder: Path, threads: int) -> float:
    """MiB that a process of its own holds at most, from its start over ten images."""
    command = [sys.executable, "-m", "benchmarks.latency_cases", name, str(folder), str(threads)]
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return float(result.stdout.split()[-1])


def compared(times: dict[str, list[float]], sizes: dict[str, float], peaks: dict[str, float]) -> list[Latency]:
    """Each runtime against each of the others."""
    results = []
    for ours in RUNTIMES:
        for peer in (TORCH, *PEERS):
            ratios = [b / a for a, b in zip(times[ours], times[peer], strict=True)]
            low, _, high = statistics.quantiles(ratios, n=4)
            mine, other = statistics.median(times[ours]), statistics.median(times[peer])
            figures = (mine, peer, other, statistics.median(ratios), high - low)
            results.append(
                Latency(
                    f"384 x 288, {CLASSES} classes, {ours}", *figures, peaks[ours], peaks[peer], sizes[ours], sizes[peer]
                )
            )
    return results


def run(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        exporting = [sys.executable, "-m", "repmet", "export", "--out", scratch]
        subprocess.run(exporting, check=True, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.DEVNULL)
        peaks = {name: memory(name, folder, args.threads) for name in (*RUNTIMES, TORCH, *PEERS)}
        times, sizes = measure(folder, args.threads, args.rounds)
    results = compared(times, sizes, peaks)
    print(format_table(results))
    print(
        "\n| detector | ms, median | ms, least | images/s | peak memory, MiB | files, MB |\n|---|---:|---:|---:|---:|---:|"
    )
    for name, values in times.items():
        middle = statistics.median(values)
        figures = f"{middle:.1f} | {min(values):.1f} | {1e3 / middle:.1f} | {peaks[name]:.0f} | {sizes[name]:.1f}"
        print(f"| {name} | {figures} |")
    if args.out:
        write_json(args.out, environment() | {"threads": args.threads}, results)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of every detector (default: 2)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="images that each one looks at (default: 15)")
    parser.add_argument("--out", metavar="FILE", help="write the results as JSON")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
