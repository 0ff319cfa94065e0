"""What RepMet's head adds to the frozen RoI features of the shipped detector: with it against without it, mark by mark.

    python -m benchmarks.roi_embedding --data own/raccoon own/kangaroo --marks 1 5 --out roi_embedding.json

The head is trained on the boxes that the detector's proposals learnt from (experiments/detection/photos.yaml) and, as boxes
of whole images, on folders of class folders: hundreds of classes. Its map is residual, `z = u / |u|, u = x + A x` with A = 0
at the start, on the mean features x of both strides, each at unit length. Losses are RepMet's: the detection softmax over
three representatives a class, which start at the class's mean, and the margin (Karlinsky et al. 2019, eq. 2 to 4). Then
every set is marked by seed and searched as `python -m detection.own_data` does it, in these features:

    frozen   as shipped
    joined   the head's z behind them, at the same length
    alone    z in their place

Steps, rate and weights were fixed beforehand. Of two weight decays this one was taken after a look at raccoon's train list,
in a script that was not kept; nothing was chosen on a test list.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from repmet.benchmarks.detectors import EXPERIMENTS
from repmet.benchmarks.embedded_folders import folder_of
from repmet.benchmarks.roi_features import changed, compare, parser_of
from repmet.classification.support_images import read_support_images
from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.embedding.embedded_image import FEATURES
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.image_sets import read_sets
from repmet.detection.protocols.own_data import OwnData
from repmet.errors import exit_code
from repmet.experiments.config.loading import load_experiment
from repmet.model_definitions.losses.repmet_detection import detection_loss
from repmet.model_definitions.representatives import Representatives, margin_loss

STRIDES = (112, 320)  # channels of the frozen maps; their means come first in the detector's RoI features
MODES, STEPS, BATCH, RATE, DECAY = 3, 500, 512, 1e-3, 10.0


def means(features: Tensor) -> Tensor:
    """(..., f) -> (..., 432), the mean over a region's cells of each stride, at unit length."""
    parts = features[..., : sum(STRIDES)].split(STRIDES, -1)
    return torch.cat([F.normalize(part, dim=-1) for part in parts], -1)


class ResidualEmbedding(nn.Module):
    """(..., e) -> (..., e) of unit length: `(x + A x) / |x + A x|`; A is 0 at the start."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.residual = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.residual.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x + self.residual(x), dim=-1)


def whole_images(folder: str, images: int) -> list[ImageRecord]:
    """Of each class the first images, each one box as large as the image."""
    records = []
    for name, members in read_support_images(folder_of(folder)).items():
        for member in members[:images]:
            path = Path(member.path)
            with Image.open(path) as opened:
                width, height = opened.size
            box = np.array([[0, 0, width, height]], np.float32)
            records.append(ImageRecord(f"{folder}/{name}/{path.name}", path, width, height, (name,), box, np.zeros(1, bool)))
    return records


def boxes_of(records: Sequence[ImageRecord], embedder: Embedder) -> Iterator[tuple[Tensor, str]]:
    """Features (432,) and class of every plain box."""
    embedded = embedder(records)
    for record in records:
        features = means(embedded[record.id].annotated[FEATURES])
        yield from ((x, n) for x, n, hard in zip(features, record.names, record.difficult, strict=True) if not hard)


def train(features: Tensor, labels: Tensor, classes: int, seed: int = 0) -> ResidualEmbedding:
    """The head's embedding after a minute of training.

    Args:
        features: (n, e). labels: (n,). Rare classes are drawn more often: with the root of their share.
    """
    torch.manual_seed(seed)
    embedding = ResidualEmbedding(features.shape[1])
    head = Representatives(classes, MODES, features.shape[1], normalize=True)
    counts = torch.bincount(labels, minlength=classes).float()
    with torch.no_grad():
        centres = torch.zeros(classes, features.shape[1]).index_add_(0, labels, features) / counts[:, None]
        head.weight.copy_(F.normalize(centres, dim=-1)[:, None] + 0.02 * torch.randn_like(head.weight))
    optimiser = torch.optim.AdamW(
        [{"params": embedding.parameters(), "weight_decay": DECAY}, {"params": head.parameters(), "weight_decay": 0.0}], RATE
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, STEPS)
    share = counts.rsqrt()[labels]
    for _ in range(STEPS):
        batch = torch.multinomial(share, BATCH, replacement=True)
        d2 = head(embedding(features[batch]))
        loss = detection_loss(d2, labels[batch]).mean() + margin_loss(d2, labels[batch], margin=0.3)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    print(f"the head after {STEPS} steps: loss {float(loss.detach()):.2f}", flush=True)
    return embedding.eval().requires_grad_(False)


def kinds_of(embedding: ResidualEmbedding, data: OwnData) -> dict[str, OwnData]:
    def joined(features: Tensor) -> Tensor:
        return F.normalize(torch.cat([features, embedding(means(features))], -1), dim=-1)

    changes = {"joined": joined, "alone": lambda features: embedding(means(features))}
    return {"frozen": data} | {k: replace(data, embedded=changed(data.embedded, c)) for k, c in changes.items()}


def trained(embedder: Embedder, folders: Sequence[str], images: int) -> ResidualEmbedding:
    """The head, on the boxes that the detector learnt from and on so many images of each class of the folders."""
    pool = [s.records for s in read_sets(load_experiment(EXPERIMENTS / "detection/photos.yaml").data)]
    pool += [whole_images(name, images) for name in folders]
    features, names = zip(*(box for records in pool for box in boxes_of(records, embedder)), strict=True)
    classes, labels = np.unique(names, return_inverse=True)
    print(f"{len(names)} boxes of {len(classes)} classes", flush=True)
    return train(torch.stack(features), torch.from_numpy(labels), len(classes))


def main(argv: Sequence[str] | None = None) -> int:
    parser, folders = parser_of(__doc__), ["caltech101", "flowers17", "cub200_2010", "cars196_crops"]
    parser.add_argument(
        "--folders", nargs="*", default=folders, metavar="DIR", help=f"class folders to learn from ({' '.join(folders)})"
    )
    parser.add_argument("--images", type=int, default=12, metavar="N", help="of each class of a class folder (12)")
    args = parser.parse_args(argv)

    def kinds(embedder: Embedder) -> Callable[[OwnData], dict[str, OwnData]]:
        return partial(kinds_of, trained(embedder, args.folders, args.images))

    return exit_code(lambda: compare(args, "RepMet's head on the frozen RoI features", kinds))


if __name__ == "__main__":
    sys.exit(main())
