"""What an image costs with many classes and many supports, against one class with one: python -m benchmarks.scale

    python -m benchmarks.scale --out models/results/scale.json

Each time is of one photograph's size through the network of the detector that ships, and of detection among classes whose
layers and supports are drawn at random: a hundred boxes of random objectness, thresholds of 0.3.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F

from repmet.benchmarks.measure import Comparison, compare, environment, format_table, write_json
from repmet.data.readers.image_inputs import image_inputs
from repmet.detection.embedding.embedded_image import FEATURES, EmbeddedImage
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.few_shot_detector import FewShotDetector
from repmet.detection.saved_classes import SPACE, SavedClasses
from repmet.detection.scoring.calibration import Calibration
from repmet.detection.scoring.logistic import LogisticRegression
from repmet.detection.scoring.rule import FewShotRule

CASES = ((10, 1), (100, 1), (1000, 1), (10, 200), (1000, 20))  # classes, supports of each
BOXES, WIDTH, LEAST = 100, 4320, 0.3
PEER = "1 class, 1 support"


def looked_at(seed: int = 0) -> EmbeddedImage:
    """An image as the network leaves it, with random boxes and embeddings."""
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(BOXES, 2, generator=g) * 300
    boxes = torch.cat([corner, corner + 20 + torch.rand(BOXES, 2, generator=g) * 80], 1)
    e = F.normalize(torch.randn(BOXES, WIDTH, generator=g), dim=-1)
    spaces = {FEATURES: e, SPACE: e}
    return EmbeddedImage(boxes, boxes, torch.rand(BOXES, generator=g), spaces, dict.fromkeys(spaces, e[:0]))


def learnt(classes: int, supports: int, seed: int = 1) -> SavedClasses:
    """So many classes of so many supports each, as `FewShotDetector` keeps them."""
    g = torch.Generator().manual_seed(seed)
    layer = torch.randn(classes + 1, WIDTH, generator=g)
    rule = FewShotRule(objectness=1.5, nms=0.5)
    count = classes * supports
    return SavedClasses(
        classes=tuple(map(str, range(classes))),
        scorer=LogisticRegression(rule=rule, weight=layer, bias=torch.zeros(classes + 1)),
        embeddings=F.normalize(torch.randn(count, WIDTH, generator=g), dim=-1),
        labels=torch.arange(classes).repeat_interleave(supports),
        boxes=torch.arange(count),
        crops=torch.zeros(count, 1, 1, 3, dtype=torch.uint8),
        weights={},
        calibration=Calibration(2.0, (3.0,) * classes, (LEAST,) * classes),
    )


def scale_cases(seconds: float, cases: tuple[tuple[int, int], ...] = CASES) -> list[Comparison]:
    """The time of an image in each case beside that with one class of one support."""
    embedder = FewShotDetector().embedder
    pixels = np.random.default_rng(0).integers(0, 255, (384, 288, 3), np.uint8)
    (photo,) = image_inputs(pixels)
    record = OpenImage.of(photo.name, photo.open())
    image, few = looked_at(), learnt(1, 1)

    def photograph(classes: SavedClasses) -> None:
        embedder.cache = None  # the network runs each time
        embedder([record])
        classes.detect(image, np.full(len(classes.classes), LEAST))

    rows = []
    for number, supports in cases:
        many = learnt(number, supports)
        case = f"{number:,} classes, {supports} support{'s' if supports > 1 else ''} each"
        rows.append(compare(case, lambda many=many: photograph(many), PEER, lambda: photograph(few), seconds=seconds))
    return rows


def main(argv: list[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE.json", help="also write the figures there")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10.0, help="a case (default: 10)")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    rows = scale_cases(args.seconds)
    print(format_table(rows))
    if args.out:
        write_json(args.out, environment(), rows)
    return rows


if __name__ == "__main__":
    main()
