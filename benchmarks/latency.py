"""What an image costs on a CPU: the shipped detector by torch, ONNX Runtime and OpenVINO, and other people's.

    python -m benchmarks.latency [--threads 2] [--rounds 15] [--out FILE]

From an array of 384 x 288 pixels to detections of ten classes, one image at a time, without decoding. All take turns in one
process, so that each meets the machine in the same state; the figures are medians, the ratios those of neighbouring turns.
Memory is the most that a process of its own holds, imports included. Other people's detectors have random weights: they
cost the same time as trained ones and say nothing of accuracy. YOLOE, OWLv2 and Grounding DINO lie in build/peers, where
`make bench` puts them; each scales the image to its own size, and its licence stands behind its name. Their files are the
size of their weights in float32.
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

from PIL import Image

from repmet.benchmarks.latency_cases import CLASSES, RUNTIMES, TORCH, opened, peers, scene
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
    names = [*RUNTIMES, TORCH, *peers()]
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


def export(folder: Path) -> None:
    """Writes the shipped detector in float32 and, calibrated on such images as are looked at, in 8 bits."""
    photos = folder / "photos"
    photos.mkdir()
    for number in range(32):
        Image.fromarray(scene(3000 + number)).save(photos / f"{number}.png")
    for precision, options in (("float32", []), ("int8", ["--int8", "--calibration", str(photos)])):
        command = [sys.executable, "-m", "repmet", "export", "--out", str(folder / precision), *options]
        subprocess.run(command, check=True, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.DEVNULL)


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
        for peer in (name for name in times if name not in RUNTIMES):
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
        export(folder)
        peaks = {name: memory(name, folder, args.threads) for name in (*RUNTIMES, TORCH, *peers())}
        times, sizes = measure(folder, args.threads, args.rounds)
    results = compared(times, sizes, peaks)
    print(format_table(results))
    print(
        "\n| detector | ms, median | ms, least | images/s | peak memory, MiB | files, MB | parameters, millions |"
        "\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for name, values in times.items():
        middle = statistics.median(values)
        figures = f"{middle:.1f} | {min(values):.1f} | {1e3 / middle:.1f} | {peaks[name]:.0f} | {sizes[name]:.1f}"
        print(f"| {name} | {figures} | {sizes[TORCH if name in RUNTIMES else name] / 4:.1f} |")
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
