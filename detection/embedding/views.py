"""Supports seen in several views and sizes: support boxes are embedded in the mirror image, in quarter turns, larger and
smaller too.

One photograph shows an object one way up. Where no side is up (objects seen from above) all eight views are as likely, and
the query need not lie as the support does, nor be as near. The released RepMet code augments its supports alike
(`use_aug`). Only support images cost more; queries go through the network once.

Shapes: V looks, G annotated boxes of an image, e embedding dimensions.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate

from repmet.data.sources.voc import ImageRecord
from repmet.detection.dataset import loaded
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.turned import view
from repmet.errors import UserError

from mmdet.structures.bbox import bbox2roi  # isort: skip


Looks = Sequence[tuple[int, float]]  # the number of a view, and times the size that images are brought to


def in_view(
    pipeline: Compose, steps: Sequence[Callable], record: ImageRecord, boxes: np.ndarray, number: int
) -> tuple[dict, torch.Tensor]:
    """What mmdet's pipeline makes of a view of an image, and boxes (R, 4) of the image in the pixels of the result.

    Args:
        pipeline: its first step loads the image.
        steps: those after the first.
        number: of `detection.episodes.turned.view`.
    """
    results = loaded(pipeline, record)
    results["img"], boxes = view(results["img"], boxes, number)
    results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
    for transform in steps:
        results = transform(results)
    return results, torch.as_tensor(boxes * np.tile(results["data_samples"].scale_factor, 2), dtype=torch.float32)


class ViewEmbedder(Embedder):
    """Embeds the annotated boxes of images in other looks: `annotated` of what it gives is (V, G, e).

    Args:
        looks: V of them.
        others: as `Embedder`.

    Raises:
        ValueError: another size is asked for, and the pipeline brings images to none.
    """

    def __init__(self, *arguments: object, looks: Looks, **others: object) -> None:
        super().__init__(*arguments, **others)
        self.looks = looks
        steps = self.pipeline.transforms[1:]
        self.steps = {scale: [_resized(step, scale) for step in steps] for scale in {scale for _, scale in looks}}
        if set(self.steps) - {1.0} and not any(_scale(step) for step in steps):
            raise UserError("episodes.support_scales needs a test pipeline with a Resize to a `scale`")

    @torch.inference_mode()
    def _batch(self, records: list[ImageRecord]) -> list[EmbeddedImage]:
        seen = [self._look(records, number, scale) for number, scale in self.looks]  # by look, by image, by space
        none = torch.zeros(0, 4)
        return [
            EmbeddedImage(none, none, none[:, 0], {}, {s: torch.stack([v[k][s] for v in seen]) for s in seen[0][k]})
            for k in range(len(records))
        ]

    def _look(self, records: list[ImageRecord], number: int, scale: float) -> list[dict[str, torch.Tensor]]:
        samples, regions = [], []
        for record in records:
            results, boxes = in_view(self.pipeline, self.steps[scale], record, record.boxes, number)
            samples.append(results)
            regions.append(boxes)
        batch = self.model.data_preprocessor(pseudo_collate(samples), False)
        rois = bbox2roi(regions).to(batch["inputs"].device)
        by_space = self.embeddings(self.model.extract_feat(batch["inputs"]), rois)[0]
        parts = {space: values.cpu().split([len(r) for r in regions]) for space, values in by_space.items()}
        return [{space: parts[space][k] for space in parts} for k in range(len(records))]


def _scale(step: object) -> tuple[int, ...] | None:
    """Width and height that a step of a pipeline brings images to, where it brings them to any."""
    scale = getattr(step, "scale", None)
    return tuple(scale) if isinstance(scale, tuple | list) and len(scale) == 2 else None


def _resized(step: object, times: float) -> object:
    """A step of a pipeline that brings images to another size."""
    scale = _scale(step)
    if scale is None or times == 1:
        return step
    other = copy.copy(step)
    other.scale = tuple(max(1, round(side * times)) for side in scale)
    return other


def with_views(
    embedded: Mapping[str, EmbeddedImage], supports: Sequence[ImageRecord], embedder: Embedder, looks: Looks
) -> dict[str, EmbeddedImage]:
    """`embedded`, whose support images also have their boxes in other looks.

    Args:
        embedded: by id, what `embedder` made of the images.
        supports: the support images among them.
        looks: those of `FewShotRule.other_looks`.
    """
    if not looks:
        return dict(embedded)
    views, scales = len({view for view, _ in looks} | {0}), sorted({scale for _, scale in looks} - {1.0})
    kept = "_".join([f"{views}_views", *map("{:g}".format, scales)])
    embed_looks = ViewEmbedder(
        embedder.model,
        embedder.pipeline.transforms,
        looks=looks,
        batch_size=embedder.batch_size,
        spaces=embedder.spaces,
        share=embedder.share,
        cache=embedder.cache and embedder.cache.beside(kept),
    )
    return dict(embedded) | {i: replace(embedded[i], views=seen.annotated) for i, seen in embed_looks(supports).items()}
