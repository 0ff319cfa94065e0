"""Supports seen in several views: support boxes are embedded in the mirror image and in quarter turns too.

One photograph shows an object one way up. Where no side is up (objects seen from above) all eight views are as likely, and
the query need not lie as the support does. The released RepMet code augments its supports alike (`use_aug`). Only support
images cost more; queries go through the network once.

Shapes: V views, G annotated boxes of an image, e embedding dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from repmet.data.sources.voc import ImageRecord
from repmet.detection.dataset import loaded
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.turned import VIEWS, view
from repmet.errors import UserError

from mmdet.structures.bbox import bbox2roi  # isort: skip


class ViewEmbedder(Embedder):
    """Embeds the annotated boxes of images in all views but the first: `annotated` of what it gives is (V - 1, G, e).

    Args:
        views: V, one of `VIEWS`.
        others: as `Embedder`.

    Raises:
        ValueError: another number of views.
    """

    def __init__(self, *arguments: object, views: int, **others: object) -> None:
        if views not in VIEWS:
            raise UserError(f"episodes.support_views is one of {', '.join(map(str, VIEWS))}, not {views!r}")
        super().__init__(*arguments, **others)
        self.views = views

    @torch.inference_mode()
    def _batch(self, records: list[ImageRecord]) -> list[EmbeddedImage]:
        seen = [self._view(records, number) for number in range(1, self.views)]  # by view, by image, by space
        none = torch.zeros(0, 4)
        return [
            EmbeddedImage(none, none, none[:, 0], {}, {s: torch.stack([v[k][s] for v in seen]) for s in seen[0][k]})
            for k in range(len(records))
        ]

    def _view(self, records: list[ImageRecord], number: int) -> list[dict[str, torch.Tensor]]:
        samples, regions = [], []
        for record in records:
            results = loaded(self.pipeline, record)
            results["img"], boxes = view(results["img"], record.boxes, number)
            results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
            for transform in self.pipeline.transforms[1:]:
                results = transform(results)
            samples.append(results)
            scale = np.tile(results["data_samples"].scale_factor, 2)
            regions.append(torch.as_tensor(boxes * scale, dtype=torch.float32))
        batch = self.model.data_preprocessor(pseudo_collate(samples), False)
        rois = bbox2roi(regions).to(batch["inputs"].device)
        by_space = self.embeddings(self.model.extract_feat(batch["inputs"]), rois)[0]
        parts = {space: values.cpu().split([len(r) for r in regions]) for space, values in by_space.items()}
        return [{space: parts[space][k] for space in parts} for k in range(len(records))]


def with_views(
    embedded: Mapping[str, EmbeddedImage], supports: Sequence[ImageRecord], embedder: Embedder, views: int
) -> dict[str, EmbeddedImage]:
    """`embedded`, whose support images also have their boxes in all the views that are asked for.

    Args:
        embedded: by id, what `embedder` made of the images.
        supports: the support images among them.
        views: V, one of `VIEWS`.
    """
    if views == 1:
        return dict(embedded)
    looks = ViewEmbedder(
        embedder.model,
        embedder.pipeline.transforms,
        views=views,
        batch_size=embedder.batch_size,
        spaces=embedder.spaces,
        share=embedder.share,
        cache=embedder.cache and embedder.cache.beside(f"{views}_views"),
    )
    return dict(embedded) | {i: replace(embedded[i], views=seen.annotated) for i, seen in looks(supports).items()}
