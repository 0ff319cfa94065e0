"""The first look: one coin is marked, and the others are found. No training, a few seconds on a CPU.

    python -m detection.first_look

The photograph comes with scikit-image (Greek coins from Pompeii, Brooklyn Museum; no known copyright restrictions). Writes
`work_dirs/first_look/coins.png`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from repmet.detection.few_shot_detector import FewShotDetector
from repmet.errors import UserError, exit_code

COIN = (25, 104, 67, 145)  # the mark: x1, y1, x2, y2 in pixels


def photograph() -> Path:
    """The file, which is read without importing the package."""
    package = find_spec("skimage")
    path = Path(package.origin).parent / "data" / "coins.png" if package and package.origin else None
    if path is None or not path.is_file():
        raise UserError("the photograph of the first look comes with scikit-image: pip install scikit-image")
    return path


def run(out: Path) -> None:
    start = time.perf_counter()
    image = photograph()
    detector = FewShotDetector().learn({"coin": [(image, COIN)]})
    detections = detector.detect(image)
    path = replace(detections, supports=None).save(out / "coins.png")
    seconds = time.perf_counter() - start
    print(f"one coin was marked, {len(detections)} were found in {seconds:.0f} s (the photograph shows 24); look at {path}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m detection.first_look", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="work_dirs/first_look", metavar="DIR", help="where to write (work_dirs/first_look)")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(Path(args.out)))


if __name__ == "__main__":
    sys.exit(main())
