"""An episode of two classes on images embedded at random, small enough to be recomputed in loops."""

import numpy as np
import torch
import torch.nn.functional as F

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import SPACES, EmbeddedImage
from repmet.detection.episodes.episode import Episode
from repmet.detection.scoring.representatives import SupportSet
from repmet.detection.scoring.rule import FewShotRule

E, WIDTH = 6, 9
RULE = FewShotRule()


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def image(count: int = 12, boxes: torch.Tensor | None = None, annotated: int = 3) -> EmbeddedImage:
    if boxes is None:
        corner = torch.rand(count, 2) * 50
        boxes = torch.cat([corner, corner + 10 + 30 * torch.rand(count, 2)], 1)
    count = len(boxes)
    widths = {s: WIDTH if s == "baseline_roi" else E for s in SPACES}
    return EmbeddedImage(
        boxes,
        boxes,
        torch.rand(count),
        {s: unit(count, w) for s, w in widths.items()},
        {s: unit(annotated, w) for s, w in widths.items()},
        1 + torch.rand(count),
        1 + torch.rand(annotated),
    )


def record(name: str, names: tuple[str, ...]) -> ImageRecord:
    boxes = np.array([[5, 5, 30, 30], [40, 40, 70, 75], [60, 5, 90, 30]], np.float32)[: len(names)]
    return ImageRecord(name, None, 100, 100, names, boxes, np.zeros(len(names), bool))


def world():
    """Three support images with proposals about their boxes, two queries, an episode of two classes."""
    records = {f"s{k}": record(f"s{k}", ("cat", "dog", "cow")) for k in range(3)}
    embedded = {}
    for name, r in records.items():
        boxes = torch.from_numpy(r.boxes)
        jitter = [boxes + torch.randn(3, 4) * s for s in (0.5, 1, 3, 6, 10)]
        shifted = [boxes + s for s in (8.0, 12.0, 14.0, 16.0)]
        aside = boxes + 0.6 * (boxes[:, 2] - boxes[:, 0])[:, None] * torch.tensor([1.0, 0, 1, 0])  # IoU 1/4
        every = torch.cat([*jitter, *shifted, aside])
        every[:, 2:] = torch.maximum(every[:, 2:], every[:, :2] + 1)
        embedded[name] = image(boxes=every)
    embedded |= {f"q{k}": image() for k in range(2)}
    support = {"cat": (("s0", 0), ("s1", 0)), "dog": (("s0", 1), ("s2", 1))}
    return Episode(("cat", "dog"), support, {"cat": ("q0",), "dog": ("q1",)}), embedded, records


def supports_of(world: tuple, shot: int) -> SupportSet:
    episode, embedded, records = world
    return SupportSet.of(episode, shot, records, embedded)


def crowded(count: int, seed: int) -> EmbeddedImage:
    """An image of boxes that overlap, with embeddings in RepMet's space and in one where all are equal."""
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=g) * 40
    boxes = torch.cat([corner, corner + 20 + torch.rand(count, 2, generator=g) * 20], 1)
    return EmbeddedImage(
        boxes=boxes,
        proposals=torch.zeros(count, 4),
        objectness=torch.rand(count, generator=g),
        embeddings={
            "repmet": F.normalize(torch.randn(count, 6, generator=g), dim=-1),
            "other": torch.ones(count, 6) / 6**0.5,
        },
        annotated={},
    )


def iou(a, b) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(w, 0) * max(h, 0)
    return float(inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner))
