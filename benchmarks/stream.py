"""Very many images through `repmet detect` and `repmet embed`: images a second, and the memory that is held meanwhile.

    python -m benchmarks.stream --images 100000 --distinct 50 --out build/bench/stream.json
    python -m benchmarks.stream --images 300 --distinct 300 --side 640 --out build/bench/rates.json

The images are links to `--distinct` pictures, made at random. In torch the detector keeps the last 64 images, so that with
fewer pictures than that its network runs once for each. Each command is killed at the middle and typed again. Memory is the
most that either process held (`VmHWM`), and that at a twentieth of the way: how it grows with the images. One thread, unless
OMP_NUM_THREADS says otherwise.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from repmet.data.files.atomic import check_folder, write_json
from repmet.errors import UserError, exit_code
from repmet.experiments.running.provenance import origin
from repmet.installation import checkout

COMMANDS = ("detect", "embed")
AIM = 1500.0  # MB


def make_images(folder: Path, images: int, distinct: int, side: int) -> Path:
    """Links, in folders of a thousand, to pictures of rectangles on noise, `side` pixels wide; and a crop to show."""
    draw = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for number in range(distinct):
        pixels = draw.integers(90, 160, (side * 3 // 4, side, 3), np.uint8)
        for _ in range(4):
            x, y = draw.integers(0, side * 3 // 4, 2)
            pixels[y : y + side // 5, x : x + side // 4] = draw.integers(0, 256, 3, np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.jpg", quality=90)
    for number in range(images):
        below = folder / "images" / f"{number // 1000:05d}"
        below.mkdir(parents=True, exist_ok=True)
        os.link(folder / "pictures" / f"{number % distinct}.jpg", below / f"{number:08d}.jpg")
    (folder / "support/thing").mkdir(parents=True)
    with Image.open(folder / "pictures/0.jpg") as picture:
        picture.crop((0, 0, side // 3, side // 3)).save(folder / "support/thing/a.png")
    return folder / "images"


def words_of(command: str, folder: Path, size: int | None, runtime: str) -> list[str]:
    """What is typed."""
    if command == "embed":
        return ["embed", "--images", f"{folder / 'images'}", "--out", f"{folder / 'photos.npz'}"] + (
            ["--size", str(size)] if size else []
        )
    shown = ["--support", f"{folder / 'support'}", "--min-score", "0.3", "--format", "jsonl", "--pictures", "0"]
    return ["detect", *shown, "--runtime", runtime, "--images", f"{folder / 'images'}", "--out", f"{folder / 'out'}"]


class Watched:
    """A command that runs, its lines so far, and the memory that it holds."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        environment = {"OMP_NUM_THREADS": "1"} | os.environ
        self.folder, self.start = folder, time.monotonic()
        said = open(folder / "said.txt", "w")  # noqa: SIM115  (the process's own until it ends)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "repmet", *words], cwd=checkout(), env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        self.seen: list[tuple[float, int, float]] = []  # seconds, lines, MB
        self._counted: dict[Path, tuple[int, int]] = {}  # bytes read and lines in them

    def lines(self) -> int:
        for file in self._files():
            at, count = self._counted.get(file, (0, 0))
            try:
                with open(file, "rb") as opened:
                    opened.seek(at)
                    new = opened.read()
            except OSError:  # it has just been taken away
                continue
            self._counted[file] = at + len(new), count + new.count(b"\n")
        return sum(count for file, (_, count) in self._counted.items() if "unfinished" in str(file))

    def _files(self) -> list[Path]:
        """Of the lines so far; none when they are being taken away. The images are not walked through."""
        try:
            return [
                file for where in ("photos.npz.unfinished", "out/unfinished") for file in (self.folder / where).glob("*/*")
            ]
        except OSError:
            return []

    def until(self, lines: float) -> float:
        """Watches until there are so many lines, or the command ends; the seconds since it was begun."""
        while self.process.poll() is None:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            if match := re.search(r"VmHWM:\s*(\d+) kB", status):
                self.seen.append((time.monotonic() - self.start, self.lines(), int(match[1]) * 1024 / 1e6))
            if self.seen and self.seen[-1][1] >= lines:
                break
            time.sleep(0.2)
        return time.monotonic() - self.start

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def measured(command: str, images: int, distinct: int, side: int, size: int | None, runtime: str) -> dict[str, Any]:
    """A row: the command killed at the middle of the images, and typed again."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_images(folder, images, distinct, side)
        words = words_of(command, folder, size, runtime)
        first = Watched(words, folder)
        half = first.until(images / 2)
        first.kill()
        kept = first.lines()
        second = Watched(words, folder)
        second.until(float("inf"))
        whole = time.monotonic() - second.start
        said = (folder / "said.txt").read_text()
        if second.process.returncode or f" of {images} images were looked at before" not in said:
            raise UserError(f"repmet {command} ended with {second.process.returncode}: {said[-500:]}")
        result = folder / ("photos.npz" if command == "embed" else "out/detections.jsonl")
        at_first = next((at for at in first.seen if at[1] >= images / 20), first.seen[-1])
        last = first.seen[-1]
        figures = {
            "images_a_second": (last[1] - at_first[1]) / (last[0] - at_first[0]) if last[0] > at_first[0] else None,
            "start_s": next(seconds for seconds, lines, _ in first.seen if lines),
            "seconds": half + whole,
            "taken_up": kept,
            "peak_mb": max(memory for *_, memory in first.seen + second.seen),
            "peak_mb_early": at_first[2],
            "bytes_an_image": result.stat().st_size / images,
        }
    of = {"command": command, "images": images, "distinct": distinct, "side": side if size is None else size}
    of["runtime"] = runtime if command == "detect" else "torch"
    return of | {metric: None if value is None else {"mean": value} for metric, value in figures.items()}


def run(args: argparse.Namespace) -> None:
    check_folder(Path(args.out).parent)
    if args.images < 20 or not 0 < args.distinct <= args.images:
        raise UserError("--images is at least 20, and --distinct from 1 to that")
    rows = []
    for command in args.commands:
        size = args.size if command == "embed" else None
        rows.append(measured(command, args.images, args.distinct, args.side, size, args.runtime))
        figures = {key: round(value["mean"], 1) for key, value in rows[-1].items() if isinstance(value, dict)}
        print(json.dumps({"command": command} | figures), flush=True)
    write_json(args.out, {"protocol": "stream", "seed": 0, **origin(), "rows": rows})
    highest = max(row["peak_mb"]["mean"] for row in rows)
    print(f"written: {args.out}; {highest:.0f} MB at most, aim {AIM:.0f}: {'reached' if highest <= AIM else 'MISSED'}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stream", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)} (default: both)")
    parser.add_argument("--images", type=int, default=100_000, metavar="N", help="default: 100000")
    parser.add_argument("--distinct", type=int, default=50, metavar="N", help="pictures that they are links to (50)")
    parser.add_argument("--side", type=int, default=160, metavar="PIXELS", help="width of a picture (default: 160)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side that `embed` brings images to (its encoder's)")
    parser.add_argument("--runtime", default="auto", help="of `detect` (default: auto)")
    parser.add_argument("--out", default="build/bench/stream.json", metavar="FILE")
    args = parser.parse_args(argv)
    args.commands = args.commands or list(COMMANDS)
    if unknown := set(args.commands) - set(COMMANDS):
        parser.error(f"no command {', '.join(sorted(unknown))}; there are {', '.join(COMMANDS)}")
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
