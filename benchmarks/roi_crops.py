"""What cutting the boxes out is worth: features of crops against RoI features of the whole image, mark by mark.

    python -m benchmarks.roi_crops --data own/raccoon own/microcontroller --marks 1 5 --out roi_crops.json

A region of an image of 384 pixels is a few cells of the backbone's maps. Cut out and scaled to 112 x 112 pixels it passes
through the same frozen backbone alone: finer, and without what is around it, at the cost of one small image a box. So only
the boxes with the highest objectness are cut out. Kinds of features:

    RoI          as shipped, of the same boxes
    crops        the backbone's pooled features of the crops
    RoI + crops  both, at equal length

With every set goes what an image costs more. Nothing was chosen on these sets.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from repmet.benchmarks.roi_features import compare, parser_of, replaced
from repmet.data.files.pictures import open_rgb
from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.embedding.embedded_image import FEATURES, EmbeddedImage, at_proposals
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.protocols.own_data import OwnData
from repmet.errors import exit_code
from repmet.model_definitions.encoders.timm_encoder import TimmEncoder
from repmet.model_definitions.encoders.timm_models import IMAGENET_MEAN, IMAGENET_STD

SIDE = 112  # pixels
MARGIN = 0.1  # of a box's sides, around it


def crops(image: Image.Image, boxes: NDArray) -> Tensor:
    """(n, 4) boxes in pixels -> (n, 3, SIDE, SIDE), normalised by ImageNet's statistics; cut at the image's borders."""
    out = []
    for x1, y1, x2, y2 in np.asarray(boxes, float):
        dx, dy = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
        left, top = min(max(x1 - dx, 0), image.width - 1), min(max(y1 - dy, 0), image.height - 1)
        right, bottom = max(min(x2 + dx, image.width), left + 1), max(min(y2 + dy, image.height), top + 1)
        crop = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, (left, top, right, bottom))
        out.append(torch.from_numpy(np.asarray(crop)))
    pixels = torch.stack(out).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


@torch.inference_mode()
def cut_out(image: EmbeddedImage, record: ImageRecord, backbone: nn.Module) -> EmbeddedImage:
    """The same image with features of crops, of unit length, in the place of RoI features."""
    pixels = open_rgb(record.path)

    def of(boxes: NDArray, *, mirrored: bool = False) -> Tensor:
        if not len(boxes):
            return torch.zeros(0, backbone.out_channels)
        pieces = crops(pixels, boxes)
        return F.normalize(backbone(pieces.flip(-1) if mirrored else pieces), dim=-1)  # (n, e)

    return replaced(image, of(image.boxes.numpy()), of(record.boxes), of(record.boxes, mirrored=True))


def together(first: EmbeddedImage, second: EmbeddedImage) -> EmbeddedImage:
    """With the features of both, each of unit length before, and after."""

    def both(name: str) -> dict[str, Tensor] | None:
        a, b = getattr(first, name), getattr(second, name)
        return a and {**a, FEATURES: F.normalize(torch.cat([a[FEATURES], b[FEATURES]], -1), dim=-1)}

    return replace(first, embeddings=both("embeddings"), annotated=both("annotated"), views=both("views"))


def kinds_of(backbone: nn.Module, boxes: int, data: OwnData) -> dict[str, OwnData]:
    """The set in the three kinds of features, of the boxes with the highest objectness."""
    start = time.monotonic()
    fewer = {
        key: at_proposals(image, image.objectness.argsort(descending=True)[:boxes]) for key, image in data.embedded.items()
    }
    cut = {key: cut_out(image, data.records[key], backbone) for key, image in fewer.items()}
    each = (time.monotonic() - start) / len(cut)
    print(f"{data.name}: {boxes} crops of an image take {1e3 * each:.0f} ms", flush=True)
    joined = {key: together(image, cut[key]) for key, image in fewer.items()}
    return {name: replace(data, embedded=e) for name, e in (("RoI", fewer), ("crops", cut), ("RoI + crops", joined))}


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--boxes", type=int, default=40, metavar="N", help="of an image are cut out (40)")
    args = parser.parse_args(argv)

    def kinds(embedder: Embedder) -> Callable[[OwnData], dict[str, OwnData]]:
        del embedder  # the backbone is opened anew: it gives pooled features here
        return partial(kinds_of, TimmEncoder("tf_efficientnet_lite0", "package", frozen=True).eval(), args.boxes)

    return exit_code(lambda: compare(args, "crops against RoI features", kinds))


if __name__ == "__main__":
    sys.exit(main())
