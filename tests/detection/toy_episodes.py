"""Episodes on grey images whose embeddings are nearly right: figures that are neither perfect nor nothing."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.episodes.sampling import Episodes, sample_episodes
from repmet.detection.protocols.episodic import Pools, Result, evaluate_episodes
from repmet.detection.scoring.rule import FewShotRule

CLASSES = ("ant", "bee", "cow", "dog")
PLACES = [(x, y, x + 20.0, y + 24.0) for x in (0.0, 30.0, 60.0) for y in (5.0, 40.0, 70.0)]  # none overlaps another
EPISODES = 6
METHODS = ("repmet", "baseline_roi")


def make_records(prefix: str, count: int, folder: Path) -> list[ImageRecord]:
    """Grey images on disk with 3 objects in places of their own."""
    rng = np.random.default_rng(len(prefix))
    records = []
    for k in range(count):
        path = folder / f"{prefix}{k:02d}.png"
        Image.new("RGB", (100, 100), (128, 128, 128)).save(path)
        names = tuple(rng.choice(CLASSES, 3).tolist())
        boxes = np.array(PLACES, np.float32)[rng.permutation(9)[:3]]
        records.append(ImageRecord(path.stem, path, 100, 100, names, boxes, np.zeros(3, bool)))
    return records


def embed(record: ImageRecord, noise: float) -> EmbeddedImage:
    """Nine proposals: those on an object have its class's direction, more or less, the others one of their own."""
    generator = torch.Generator().manual_seed(int(record.id.lstrip("suportqey")))
    name_at = {tuple(b): n for b, n in zip(record.boxes.tolist(), record.names, strict=True)}
    rows = [CLASSES.index(name_at[place]) if place in name_at else len(CLASSES) + k for k, place in enumerate(PLACES)]
    axes = torch.eye(16)
    seen = torch.nn.functional.normalize(axes[rows] + noise * torch.randn(9, 16, generator=generator), dim=-1)
    annotated = axes[[CLASSES.index(n) for n in record.names]]
    boxes = torch.tensor(PLACES)
    return EmbeddedImage(
        boxes, boxes, torch.ones(len(boxes)), dict.fromkeys(METHODS, seen), dict.fromkeys(METHODS, annotated)
    )


def toy(folder: Path) -> tuple[list[Result], Episodes, Pools, dict[str, EmbeddedImage]]:
    """Results of two methods at two shots, the episodes, their images and embeddings."""
    support, query = make_records("support", 20, folder), make_records("query", 20, folder)
    episodes = sample_episodes(
        support, query, way=3, shots=(1, 2), query_images=3, episodes=EPISODES, seed=5, classes=CLASSES
    )
    embedded = {r.id: embed(r, 0.0) for r in support} | {r.id: embed(r, 0.3) for r in query}
    pools = Pools.of(support, query)
    results = list(evaluate_episodes(episodes, pools, embedded, FewShotRule(), methods=METHODS))
    return results, episodes, pools, embedded
