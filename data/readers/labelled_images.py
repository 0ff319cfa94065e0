"""A set of labelled images, whatever its source: labels, class names, and the images in memory or as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from repmet.errors import UserError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """n images of N classes.

    labels: (n,) int64, 0 .. N-1, positions in `classes`.
    classes: the N class names in sorted order. A label follows from the names alone, never from the order in which a
        directory is walked, so two machines agree.
    images: (n, C, H, W) uint8, where the set lives in memory; else None, and
    paths: one file an image, to be decoded when asked for.

    Raises:
        ValueError: names out of order or twice, labels outside 0 .. N-1, another type or number than said here.
    """

    labels: Tensor
    classes: tuple[str, ...]
    images: Tensor | None = None
    paths: tuple[Path, ...] | None = None

    def __post_init__(self) -> None:
        n, classes = len(self.labels), self.classes
        if list(classes) != sorted(set(classes)):
            raise UserError(f"class names must be sorted and differ, got {', '.join(map(repr, classes[:10]))}")
        if self.labels.dtype != torch.int64 or self.labels.ndim != 1:
            raise UserError(f"labels must be int64 (n,), got {self.labels.dtype} {tuple(self.labels.shape)}")
        if n and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(classes):
            low, high = int(self.labels.min()), int(self.labels.max())
            raise UserError(f"labels run from {low} to {high}, {len(classes)} classes have 0 to {len(classes) - 1}")
        if (self.images is None) == (self.paths is None):
            raise UserError("labelled images take either images or paths")
        if self.images is not None and (self.images.dtype != torch.uint8 or self.images.ndim != 4):
            raise UserError(f"images must be uint8 (n, C, H, W), got {self.images.dtype} {tuple(self.images.shape)}")
        held = len(self.paths if self.images is None else self.images)
        if held != n:
            raise UserError(f"{held} images and {n} labels")

    @classmethod
    def of_names(
        cls, names: Sequence[str], *, images: Tensor | None = None, paths: Sequence[Path] | None = None
    ) -> "LabelledImages":
        """The set whose i-th image is of the class `names[i]`; the labels follow from the sorted names."""
        classes = sorted(set(names))
        ids = {name: i for i, name in enumerate(classes)}
        labels = torch.tensor([ids[name] for name in names], dtype=torch.int64)
        return cls(labels, tuple(classes), images, None if paths is None else tuple(paths))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> Tensor:
        """Images of each class, (N,) int64."""
        return torch.bincount(self.labels, minlength=len(self.classes))

    def subset(self, indices: Tensor | Sequence[int]) -> "LabelledImages":
        """The images at `indices` (m,), in that order; the classes stay, also those that are left without an image."""
        indices = torch.as_tensor(indices, dtype=torch.int64)
        images = None if self.images is None else self.images[indices]
        paths = None if self.paths is None else tuple(self.paths[i] for i in indices.tolist())
        return LabelledImages(self.labels[indices], self.classes, images, paths)

    def of_classes(self, names: Sequence[str]) -> "LabelledImages":
        """The images of these classes alone, labelled anew 0 .. len(names)-1 by the sorted names.

        Raises ValueError for a name that is not there, or that is there twice.
        """
        if unknown := [name for name in names if name not in self.classes]:
            raise UserError(f"no class {unknown[0]!r}; there are {len(self.classes)}: {', '.join(self.classes[:10])}, ...")
        kept = tuple(sorted(names))
        if len(set(kept)) < len(kept):
            raise UserError(f"a class is named twice: {', '.join(kept)}")
        new = torch.full((len(self.classes),), -1, dtype=torch.int64)
        new[[self.classes.index(name) for name in kept]] = torch.arange(len(kept))
        chosen = self.subset(torch.nonzero(new[self.labels] >= 0).flatten())
        return LabelledImages(new[chosen.labels], kept, chosen.images, chosen.paths)
