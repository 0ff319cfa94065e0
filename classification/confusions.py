"""What the images of a support set are taken for, each by representatives that were made without it.

Shapes: H images that were held out, N classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repmet.classification.array_head import soft_log_posterior, squared_distances
from repmet.classification.learnt_images import LearntImages
from repmet.classification.metrics.confusion import confusion, most_confused
from repmet.classification.prediction import Support

PAIRS = 50  # kept of the confused ones


@dataclass(frozen=True, eq=False)
class Suspect:
    """An image that looks more like another class: a mislabelled one, a hard one, or one of both classes.

    Attributes:
        name, label, thumbnail: the image and the class that it is said to be of.
        looks_like: the class that is most probable without it.
        probability, other_probability: of its class and of that one.
        beside: the nearest image of the class that it looks like.
    """

    name: str
    label: str
    thumbnail: np.ndarray
    looks_like: str
    probability: float
    other_probability: float
    beside: Support


@dataclass(frozen=True, eq=False)
class Confusions:
    """Of a support set.

    Attributes:
        classes: N names.
        counts: (N, N), images of class i that were taken for class j.
        pairs: (class, taken for, how many), the most first.
        suspects: the images that were taken for another class, the least probable of their own first.
        alone: images that are alone in their class, and were not judged.
    """

    classes: tuple[str, ...]
    counts: Tensor
    pairs: list[tuple[int, int, int]]
    suspects: list[Suspect]
    alone: int

    @property
    def number(self) -> int:
        """Of images that were judged."""
        return int(self.counts.sum())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "classes": list(self.classes),
            "images": self.number,
            "right": int(self.counts.diagonal().sum()),
            "alone": self.alone,
            "confusion": self.counts.tolist(),
            "confused": [
                {"class": self.classes[true], "taken_for": self.classes[other], "images": times}
                for true, other, times in self.pairs
            ],
            "suspects": [
                {
                    "image": s.name,
                    "class": s.label,
                    "looks_like": s.looks_like,
                    "probability": round(s.probability, 6),
                    "other_probability": round(s.other_probability, 6),
                    "nearest": s.beside.name,
                }
                for s in self.suspects
            ],
        }


def confusions(learnt: LearntImages) -> Confusions:
    """Judges every image whose class has others.

    A suspect's order is its probability of the class that it is said to be of, under the fitted sigma: the "self-confidence"
    by which confident learning ranks label errors (Northcutt et al. 2021), held out.
    """
    indices = np.concatenate([part.indices for part in learnt.held_out])  # (H,)
    labels = np.concatenate([part.labels for part in learnt.held_out])
    probabilities = np.concatenate([np.exp(soft_log_posterior(part.d2, learnt.sigma)) for part in learnt.held_out])  # (H, N)
    predicted = probabilities.argmax(1)
    counts = confusion(torch.from_numpy(labels), torch.from_numpy(predicted), len(learnt.classes))
    own_class = probabilities[np.arange(len(labels)), labels]
    suspects = []
    for k in own_class.argsort(kind="stable").tolist():
        if predicted[k] != labels[k]:
            image, other = learnt.support(int(indices[k])), int(predicted[k])
            likeness = float(probabilities[k, other])
            beside = _nearest(learnt, int(indices[k]), other)
            name = learnt.classes[other]
            suspects.append(Suspect(image.name, image.label, image.thumbnail, name, float(own_class[k]), likeness, beside))
    pairs = most_confused(counts, PAIRS)
    return Confusions(learnt.classes, counts, pairs, suspects, len(learnt.labels) - len(labels))


def _nearest(learnt: LearntImages, number: int, of_class: int) -> Support:
    members = np.flatnonzero(learnt.labels == of_class)
    d2 = squared_distances(learnt.embeddings[number][None], learnt.embeddings[members][:, None])[0, :, 0]
    return learnt.support(int(members[d2.argmin()]))
