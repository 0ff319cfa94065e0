"""What a classifier has learnt: the embeddings of its support images, what follows from them, and the file that keeps them.

Plain arrays: the classifier in torch and the exported one share it, and the files.

Shapes: S support images, N classes, K representatives a class, e embedding dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repmet.classification.array_head import Floats, Labels, soft_log_posterior
from repmet.classification.fitted_head import PLAIN, FittedHead, Tuning, expected_sigma, fitted_head
from repmet.classification.held_out import HeldOut, fitted_sigma, held_out_distances, strangest_allowed
from repmet.classification.prediction import Support
from repmet.classification.several_labels import SeveralHeads, several_heads
from repmet.data.files.torch_file import check_replaceable, read_torch_file, write_torch_file
from repmet.errors import UserError

FORMAT = "repmet-classes-1"


@dataclass(frozen=True, eq=False)
class LearntImages:
    """Support images by class; nothing in it changes, another set of classes is another of these.

    Attributes:
        classes: N names.
        embeddings, labels: (S, e) and (S,), 0..N-1.
        names: of the S images.
        thumbnails: (S, h, w, 3) uint8.
        modes: representatives of a class at most: 1 is the mean, K the centres of k-means, None every image.
        trained_sigma: of the posterior that the encoder was trained by; None where it was trained otherwise.
        tuning: of the head; plain until `tuning.tuned`.
        several: an image may be of several classes, and each class is decided by itself; it is among the S once for each.
    """

    classes: tuple[str, ...]
    embeddings: Floats
    labels: Labels
    names: tuple[str, ...]
    thumbnails: NDArray[np.uint8]
    modes: int | None
    trained_sigma: float | None
    tuning: Tuning = PLAIN
    several: bool = False

    @classmethod
    def bare(
        cls, classes: tuple[str, ...], embeddings: Floats, labels: Labels, modes: int | None, sigma: float | None = None
    ) -> "LearntImages":
        """Of embeddings alone: without names and pictures.

        Args:
            sigma: `trained_sigma`.
        """
        thumbnails = np.zeros((len(labels), 1, 1, 3), np.uint8)
        return cls(classes, embeddings, labels, ("",) * len(labels), thumbnails, modes, sigma)

    def fit(self, embeddings: Floats, labels: Labels) -> FittedHead:
        """The head of some of the images: of the same modes and tuning."""
        modes = len(labels) if self.modes is None else self.modes
        return fitted_head(embeddings, labels, len(self.classes), modes, self.tuning)

    @cached_property
    def head(self) -> FittedHead:
        return self.fit(self.embeddings, self.labels)

    @cached_property
    def held_out(self) -> list[HeldOut]:
        return held_out_distances(self.embeddings, self.labels, len(self.classes), self.fit)

    @cached_property
    def expected_sigma(self) -> float:
        """Of the posterior, before looking at the images that were held out."""
        if self.tuning == PLAIN and self.trained_sigma:
            return self.trained_sigma
        metric = self.head.metric
        return expected_sigma(self.embeddings if metric is None else metric(self.embeddings), self.labels)

    @cached_property
    def sigma(self) -> float:
        """Standard deviation of the posterior, by which the probabilities fit the images that were held out."""
        return fitted_sigma(self.held_out, self.expected_sigma)

    @cached_property
    def several_heads(self) -> SeveralHeads:
        """Of the different images, told by their small pictures: each may be here under several classes."""
        places: dict[bytes, int] = {}
        of_image = [places.setdefault(small.tobytes(), len(places)) for small in self.thumbnails]
        members = np.zeros((len(places), len(self.classes)), bool)
        members[of_image, self.labels] = True
        first = [of_image.index(k) for k in range(len(places))]
        return several_heads(self.embeddings[first], members, self.classes, self.modes)

    def probabilities(self, embeddings: Floats) -> Floats:
        """Of the classes, (B, e) -> (B, N): they share an image, or with `several` each has it or not."""
        if self.several:
            return self.several_heads.probabilities(embeddings)
        return np.exp(soft_log_posterior(self.head.distances(embeddings), self.sigma))

    def strangest(self, share: float) -> float:
        """The strangeness from which on an image is of none of the classes, see `held_out.strangest_allowed`."""
        return strangest_allowed(self.held_out, share)

    @cached_property
    def numbers(self) -> dict[tuple[str, str], int]:
        """Of the support images, by name and class."""
        return {(name, self.classes[c]): k for k, (name, c) in enumerate(zip(self.names, self.labels, strict=True))}

    def support(self, number: int) -> Support:
        label = self.classes[int(self.labels[number])]
        return Support(self.names[number], label, self.thumbnails[number])

    def without(self, names: Sequence[str]) -> "LearntImages | None":
        """The other classes; None where none is left."""
        kept = [c for c in self.classes if c not in names]
        if not kept:
            return None
        chosen = [i for i, label in enumerate(self.labels.tolist()) if self.classes[label] in kept]
        labels = np.array([kept.index(self.classes[int(self.labels[i])]) for i in chosen], np.int64)
        images = tuple(self.names[i] for i in chosen)
        return self._with(tuple(kept), self.embeddings[chosen], labels, images, self.thumbnails[chosen])

    def joined(self, other: "LearntImages") -> "LearntImages":
        """The classes of both, in alphabetical order; a class that both have has the images of both."""
        classes = tuple(sorted({*self.classes, *other.classes}))
        labels = [classes.index(part.classes[i]) for part in (self, other) for i in part.labels.tolist()]
        return self._with(
            classes,
            np.concatenate([self.embeddings, other.embeddings]),
            np.array(labels, np.int64),
            self.names + other.names,
            np.concatenate([self.thumbnails, other.thumbnails]),
        )

    def renamed(self, name: str, new: str) -> "LearntImages":
        """With another name for a class, and its place in the alphabet."""
        names = [new if old == name else old for old in self.classes]
        classes = tuple(sorted(names))
        places = np.array([classes.index(class_name) for class_name in names], np.int64)
        return self._with(classes, self.embeddings, places[self.labels], self.names, self.thumbnails)

    def _with(
        self,
        classes: tuple[str, ...],
        embeddings: Floats,
        labels: Labels,
        names: tuple[str, ...],
        thumbnails: NDArray[np.uint8],
    ) -> "LearntImages":
        images = {"embeddings": embeddings, "labels": labels, "names": names, "thumbnails": thumbnails}
        return replace(self, classes=classes, **images)


_FIELDS = ("classes", "embeddings", "labels", "names", "thumbnails", "modes", "trained_sigma")


def write_classes(learnt: LearntImages, path: str | Path, encoder: Mapping[str, Any]) -> None:
    """Writes it, whole or not at all.

    Args:
        encoder: `source`, `size` and `digest` of what made the embeddings.
    """
    check_replaceable(path, [FORMAT])
    kept = {name: getattr(learnt, name) for name in _FIELDS}
    kept |= {"tuning": astuple(learnt.tuning), "several": learnt.several}
    write_torch_file({"format": FORMAT, "encoder": dict(encoder), **kept}, path)


def read_classes(path: str | Path) -> tuple[LearntImages, dict[str, Any]]:
    """What `write_classes` wrote, and its encoder.

    Raises:
        FileNotFoundError: no such file. ValueError: it is another file.
    """
    kept = read_torch_file(path)
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        raise UserError(f"{path}: not a file of learnt classes ({FORMAT}); make one by --support FOLDERS --save {path}")
    values = {name: kept[name] for name in _FIELDS} | {name: tuple(kept[name]) for name in ("classes", "names")}
    tuning = Tuning(*kept["tuning"]) if "tuning" in kept else PLAIN  # files of before know none
    return LearntImages(**values, tuning=tuning, several=kept.get("several", False)), kept["encoder"]
