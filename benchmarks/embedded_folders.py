"""The embeddings of folders of class folders, each image looked at once and kept."""

import os
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from repmet.classification.few_shot_classifier import FewShotClassifier
from repmet.classification.support_images import read_support_images
from repmet.data.files.tensor_cache import CACHE, keep, read


def folder_of(name: str) -> Path:
    """A folder as it is named, or as it lies in REPMET_DATA."""
    path, data = Path(name).expanduser(), os.environ.get("REPMET_DATA")
    return path if path.exists() or not data else Path(data) / name


def embedded(name: str, classifier: FewShotClassifier, minimum: int = 1, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Embeddings (n, e) and labels (n,) of the classes with at least `minimum` images, and of each the first `limit`."""
    by_class = read_support_images(folder_of(name))
    chosen = [images[:limit] for images in by_class.values() if len(images) >= minimum]
    files = [image.path for images in chosen for image in images]
    facts = [
        classifier.encoder.digest,
        classifier.encoder.size,
        *((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files),
    ]
    place = CACHE / f"embedded_{Path(name).name}_{sha256(repr(facts).encode()).hexdigest()[:12]}.pt"
    embeddings = read(place) if files else torch.empty(0, 0)
    if embeddings is None:
        embeddings = classifier.embed(files)
        keep(embeddings, place)
    return embeddings, torch.arange(len(chosen)).repeat_interleave(
        torch.tensor([len(images) for images in chosen], dtype=torch.long)
    )
