"""Images on their way to a detector, a few of one size together, and what it finds of the classes that it was trained on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import nn

from repmet.data.readers.image_inputs import ImageInput
from repmet.detection.dataset import sample
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.saved_classes import Found
from repmet.detection.scoring.detections import Detections

Looked = tuple[ImageInput, OpenImage]


def runs_of_one_size(
    inputs: Iterable[ImageInput], together: int, unreadable: list[str] | None = None
) -> Iterator[list[Looked]]:
    """The images in their order, at most `together` at a time and only of one size.

    Padding to a common size would make what a network says of an image depend on its company.

    Args:
        unreadable: takes a line for each image that cannot be read, which is then passed over.

    Raises:
        ValueError, ConnectionError: without `unreadable`, an image cannot be read; when its turn comes.
    """
    run: list[Looked] = []
    for number, image in enumerate(inputs):
        try:
            shown = image.open()
        except (ValueError, OSError) as error:
            if unreadable is None:
                raise
            unreadable.append(str(error))
            continue
        if run and (run[0][1].width, run[0][1].height) != shown.size:
            yield run
            run = []
        record = OpenImage.of(image.name, shown)
        run.append((image, replace(record, id=f"{number}: {image.name}")))  # a name may come twice
        if len(run) == together:
            yield run
            run = []
    if run:
        yield run


@torch.inference_mode()
def base_detections(model: nn.Module, pipeline: list, records: Sequence[OpenImage]) -> list[Found]:
    """mmdet's own prediction of images of one size.

    Args:
        model: a trained mmdet detector, in eval mode.
        pipeline: mmdet's test pipeline.
    """
    with DefaultScope.overwrite_default_scope("mmdet"):
        steps = Compose(pipeline)
    samples = model.test_step(pseudo_collate([sample(steps, record) for record in records]))
    found = [s.pred_instances.cpu().numpy() for s in samples]
    return [(Detections(p.bboxes, p.scores, p.labels), np.full(len(p.labels), -1)) for p in found]
