"""What somebody waits for who has started nothing yet: a new process each time, imports and all.

    python -m benchmarks.cold_start --out build/bench/cold_start.json

    detect   `repmet detect` of one image by two marks in another, from the command to its files
    learn    a Python program that opens the detector and learns from 20 marks in 10 images

without torch, by ONNX Runtime, in turn with the same in torch. The export comes before, and the files have been read once.
Two threads, unless OMP_NUM_THREADS says otherwise.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from repmet.benchmarks.latency_cases import scene
from repmet.benchmarks.measure import Comparison, compare, environment, format_table, write_json
from repmet.data.files.atomic import check_folder
from repmet.errors import MissingPackage, UserError, exit_code
from repmet.installation import checkout

AIM = 3000.0  # ms
IMAGES = 10
BOXES = ((40, 60, 140, 180), (200, 60, 300, 180))  # a mark of each of two classes
ROUNDS = (3, 9)
LEARN = """
import sys
from pathlib import Path
from {module} import FewShotDetector
photos = sorted(Path(sys.argv[1]).glob("*.png"))
detector = FewShotDetector({folder})
detector.learn({{f"class {{k}}": [(photo, box) for photo in photos] for k, box in enumerate({boxes})}})
"""


def ran(words: Sequence[str | Path]) -> None:
    """Runs a Python process to its end. Raises ValueError where it fails."""
    words, settings = [str(word) for word in words], {"OMP_NUM_THREADS": "2"} | os.environ
    ended = subprocess.run([sys.executable, *words], cwd=checkout(), env=settings, capture_output=True, text=True)
    if ended.returncode:
        raise UserError(f"python {' '.join(words)[:80]}: {ended.stderr[-500:]}")


def detecting(folder: Path, runtime: str) -> Callable[[], None]:
    shown: list[str | Path] = []
    for number, box in enumerate(BOXES):
        shown += ["--mark", f"class {number}", folder / "0.png", ",".join(map(str, box))]
    words = ["-m", "repmet", "detect", *shown, "--images", folder / "1.png", "--runtime", runtime]
    return lambda: ran([*words, "--out", folder / f"out_{runtime}"])


def learning(folder: Path, exported: Path | None) -> Callable[[], None]:
    module, argument = ("repmet", "") if exported is None else ("repmet.runtime", repr(str(exported)))
    return lambda: ran(["-c", LEARN.format(module=module, folder=argument, boxes=BOXES), folder])


def measured(folder: Path) -> list[Comparison]:
    """A row a case, of images that are laid into a folder."""
    for number in range(IMAGES):
        Image.fromarray(scene(number)).save(folder / f"{number}.png")
    ran(["-m", "repmet", "export", "--out", folder / "exported"])
    cases = {
        "repmet detect of one image, to its files": (detecting(folder, "onnxruntime"), detecting(folder, "torch")),
        f"learn from {IMAGES * len(BOXES)} marks": (learning(folder, folder / "exported"), learning(folder, None)),
    }
    return [
        compare(f"{case}, ONNX Runtime", ours, "the same by torch", theirs, rounds=ROUNDS)
        for case, (ours, theirs) in cases.items()
    ]


def run(args: argparse.Namespace) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        raise MissingPackage("benchmarks.cold_start needs: pip install 'repmet[export,runtime]'") from None
    check_folder(Path(args.out).parent)
    before = environment()
    with tempfile.TemporaryDirectory() as folder:
        results = measured(Path(folder))
    print(format_table(results))
    for row in results:
        print(f"{row.case}: {row.ours_ms / 1e3:.1f} s, aim {AIM / 1e3:.0f}: {'reached' if row.ours_ms <= AIM else 'MISSED'}")
    write_json(args.out, before, results)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cold_start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="build/bench/cold_start.json", metavar="FILE")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
