"""From the scores of all proposals to detections: objectness and non-maximum suppression, class by class.

Shapes: N classes, P boxes of an image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.scoring.detections import Detections
from repmet.detection.scoring.rule import FewShotRule
from repmet.model_definitions.roi_layers import batched_nms


def after_nms(
    images: Sequence[EmbeddedImage], scores: Tensor, rule: FewShotRule, floor: Tensor | None = None
) -> list[tuple[Detections, Tensor]]:
    """Objectness, where the rule asks for it, and NMS class by class; no score floor and no cap per image, as in the
    released protocol.

    All images in one pass: an episode has dozens, and each has few boxes.

    Args:
        scores: (sum P, N), of the proposals of all images.
        floor: (N,), reported scores below are left out; above nothing changes, as a box gives way to better ones alone.

    Returns:
        By image the detections, class by class with the best first, and each one's proposal (n,).
    """
    counts = torch.tensor([len(i.boxes) for i in images])
    scores = rule.reported(scores, torch.cat([i.objectness for i in images]))
    classes = scores.shape[1]
    image = torch.arange(len(images)).repeat_interleave(counts)  # (sum P,)
    groups = (image[:, None] * classes + torch.arange(classes)).flatten()  # (sum P * N,)
    boxes = torch.cat([i.boxes for i in images])
    cells = torch.arange(len(groups)) if floor is None else (scores >= floor).flatten().nonzero()[:, 0]
    kept = cells[batched_nms(boxes[cells // classes], scores.flatten()[cells], groups[cells], rule.nms)]
    kept = kept[groups[kept].argsort(stable=True)]  # by image and class, the best first as they came
    proposal = kept // classes
    numbers = image[proposal].bincount(minlength=len(images)).tolist()
    first = (counts.cumsum(0) - counts)[image[proposal]]
    columns = (boxes[proposal], scores.flatten()[kept], kept % classes, proposal - first)
    parts = zip(*(column.split(numbers) for column in columns), strict=True)
    return [(Detections(b.numpy(), s.numpy(), c.numpy()), p) for b, s, c, p in parts]
