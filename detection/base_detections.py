"""What a detector finds of the classes that it was trained on, before it is shown any."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import nn

from repmet.detection.dataset import sample
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.looking import Found
from repmet.detection.scoring.detections import Detections


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
    predicted = [s.pred_instances.cpu().numpy() for s in samples]
    return [(Detections(p.bboxes, p.scores, p.labels), np.full(len(p.labels), -1)) for p in predicted]
