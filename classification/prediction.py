"""What a classifier says of one image, and the rows that files of such answers have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from repmet.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

    from repmet.classification.learnt_images import LearntImages
    from repmet.data.readers.image_inputs import ImageInput


@dataclass(frozen=True, eq=False)
class Support:
    """A support image, as answers name it.

    Attributes:
        name: the file or address, or `image 3`.
        label: its class.
        thumbnail: (h, w, 3) uint8.
    """

    name: str
    label: str
    thumbnail: np.ndarray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one image.

    Attributes:
        image: what was looked at.
        classes: the N names, in the order of the learnt classes.
        probabilities: (N,); they sum to 1, unless `several`: how the classes share the image, if it is of one of them.
        distance: squared distance of its embedding to the nearest representative.
        nearest: the support images nearest to it, of whatever class, the nearest first.
        distances: their squared distances, (len(nearest),).
        strangeness: how unlike all classes it is, see `held_out.strangeness`: in [0, 1], but of one class the distance.
        none: it is stranger than was allowed, so that it has no name.
        several: it may be of several classes: each probability is by itself, and they have any sum.
    """

    image: ImageInput
    classes: tuple[str, ...]
    probabilities: np.ndarray
    distance: float
    nearest: tuple[Support, ...]
    distances: np.ndarray
    strangeness: float
    none: bool = False
    several: bool = False

    @property
    def name(self) -> str | None:
        """The most probable class; None for an image of none of them."""
        return self.names[0] if self.names else None

    @property
    def names(self) -> tuple[str, ...]:
        """Its classes, the most probable first: with `several` those with a probability from 1/2 on, else at most one."""
        if self.several:
            return tuple(name for name, p in self.top(len(self.classes)) if p >= 0.5)
        return () if self.none else (self.top(1)[0][0],)

    @property
    def probability(self) -> float:
        """Of the most probable class."""
        return float(self.probabilities.max())

    def top(self, number: int = 5) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities; fewer where there are fewer.

        Raises:
            ValueError: `number` is no whole number of at least 1.
        """
        if not isinstance(number, int | np.integer) or number < 1:
            raise UserError(f"the number of classes is at least 1, not {number!r}")
        order = np.argsort(-self.probabilities, kind="stable")[:number]
        return [(self.classes[i], float(self.probabilities[i])) for i in order]

    def plot(self) -> Image:
        """The image with its most probable classes and the nearest support images."""
        from repmet.classification.pictures.predictions import prediction_picture

        return prediction_picture(self)

    def row(self) -> dict[str, Any]:
        """Plain values: image, class (empty for none, `a; b` for several), probability, distance, strangeness, nearest
        support and its class, then each class's probability by its name."""
        return {
            "image": self.image.name,
            "class": "; ".join(self.names),
            "probability": round(self.probability, 6),
            "distance": round(self.distance, 6),
            "strangeness": round(self.strangeness, 6),
            "nearest_support": self.nearest[0].name,
            "nearest_support_class": self.nearest[0].label,
            "probabilities": {c: round(float(p), 6) for c, p in zip(self.classes, self.probabilities, strict=True)},
        }

    def line(self) -> dict[str, Any]:
        """Plain values from which `from_line` makes the answer again, exactly."""
        return {
            "probabilities": self.probabilities.tolist(),
            "distance": self.distance,
            "strangeness": self.strangeness,
            "none": self.none,
            "nearest": [[support.name, support.label] for support in self.nearest],
            "distances": self.distances.tolist(),
        }

    def __repr__(self) -> str:
        what = f"{', '.join(self.names)} {self.probability:.2f}" if self.names else "none of them"
        return f"<{self.image.name}: {what}>"


def from_line(image: ImageInput, values: Mapping[str, Any], learnt: LearntImages) -> Prediction:
    """The answer that `Prediction.line` says, of a classifier that has learnt these images."""
    return Prediction(
        image,
        learnt.classes,
        np.array(values["probabilities"]),
        values["distance"],
        tuple(learnt.support(learnt.numbers[name, label]) for name, label in values["nearest"]),
        np.array(values["distances"], learnt.embeddings.dtype),
        values["strangeness"],
        values["none"],
        learnt.several,
    )


def csv_rows(predictions: Sequence[Prediction]) -> list[list[Any]]:
    """A header, and a row for each prediction with a column for every class."""
    if not predictions:
        return []
    head = [key for key in predictions[0].row() if key != "probabilities"]
    classes = predictions[0].classes
    rows = [row for p in predictions for row in [p.row()]]
    return [
        [*head, *(f"p({name})" for name in classes)],
        *([*(row[key] for key in head), *row["probabilities"].values()] for row in rows),
    ]
