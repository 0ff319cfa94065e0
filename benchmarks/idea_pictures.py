"""The pictures of docs/detect.md, one for each idea, made of the photograph that scikit-image ships.

    python -m benchmarks.idea_pictures

Writes docs/pictures/thresholds.png, unknown.png, corrections.png and check.png; each shows two steps side by side.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from repmet.data.files.pictures import open_rgb
from repmet.detection.episodes.open_image import picture
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.first_look import COIN, photograph
from repmet.detection.pictures.problems import problem_page
from repmet.detection.results import Detections
from repmet.errors import exit_code

SCALE = 2  # the photograph is small beside the letters
MISSED = ((96, 248, 131, 286), (223, 240, 269, 287))  # two coins that one mark does not find, as its pixels count
COINS = (COIN, (27, 178, 61, 219), (23, 36, 65, 74))
GROUND = ((60, 70, 84, 105), (0, 215, 18, 250), (225, 146, 245, 170))
WRONG = (85, 177, 121, 214)  # a coin that is called ground
WIDTH = 1100  # pixels of a written picture


def run(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    image = open_rgb(photograph())
    image = image.resize((SCALE * image.width, SCALE * image.height), Image.Resampling.LANCZOS)

    detector = FewShotDetector().learn({"coin": [(image, _scaled(COIN))]})
    before = detector.detect(image, progress=False)
    _write([_drawn(detector.detect(image, min_score=0.02, progress=False)), _drawn(before)], out / "thresholds.png")
    _write([_drawn(before), _drawn(detector.detect(image, unknown=True, progress=False))], out / "unknown.png")
    for box in MISSED:
        detector.accept(image, _scaled(box), "coin")
    after = detector.detect(image, progress=False)
    _write([_drawn(before), _drawn(after)], out / "corrections.png")
    print(f"found: {len(before)} from one mark, {len(after)} after {len(MISSED)} corrections")
    _write_check(image, out / "check.png")


def _write_check(image: Image.Image, path: Path) -> None:
    """Pieces of the ground that are no objects, and a coin under the wrong name, as `repmet check` shows them."""
    boxes = {"coin": COINS, "ground": (*GROUND, WRONG)}
    detector = FewShotDetector().learn(
        {name: [(image, _scaled(box)) for box in of_class] for name, of_class in boxes.items()}
    )
    records = detector.supports.records
    crops = [(replace(p, image="coins.png"), picture(records[p.image])) for p in detector.check() if p.image is not None]
    page = problem_page(crops)
    page.crop((0, 0, WIDTH // 2 + 50, page.height)).save(path)


def _scaled(box: Sequence[float]) -> tuple[float, ...]:
    return tuple(SCALE * side for side in box)


def _drawn(detections: Detections) -> Image.Image:
    return replace(detections, supports=None).plot()


def _write(panels: Sequence[Image.Image], path: Path) -> None:
    """The panels side by side, in few colours: they are shipped with the documentation."""
    gap = 12
    sheet = Image.new("RGB", (sum(p.width for p in panels) + gap * (len(panels) - 1), panels[0].height), "white")
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width + gap
    small = sheet.resize((WIDTH, round(sheet.height * WIDTH / sheet.width)), Image.Resampling.LANCZOS)
    small.quantize(64).save(path, optimize=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), metavar="DIR", help="docs/pictures")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args.out))


if __name__ == "__main__":
    sys.exit(main())
