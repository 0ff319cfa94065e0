"""Detection in images of every kind: the part of both detectors that looks. Nothing here imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from repmet.data.readers.image_inputs import ImageInput, image_inputs, is_one_image
from repmet.detection.episodes.open_image import OpenImage, picture
from repmet.detection.looking import Found, check_min_score, looked_at
from repmet.detection.results import Detections
from repmet.detection.scoring.calibration import UNKNOWN, UNKNOWN_THRESHOLD
from repmet.errors import UserError
from repmet.progress import progress as bar


class DetectsClasses(ABC):
    """The part of a `FewShotDetector` that looks at images; of what was learnt it changes nothing."""

    batch_size = 1

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """What `detect` looks for."""

    @property
    @abstractmethod
    def thresholds(self) -> dict[str, float]:
        """By class, the score from which on `detect` shows a find, where it is not told another."""

    @property
    @abstractmethod
    def _has_learnt(self) -> bool:
        """Whether classes were shown."""

    @abstractmethod
    def _crops(self) -> np.ndarray | None:
        """Pictures of the supports that finds are compared with; None before `learn`."""

    @abstractmethod
    def _look(self, records: list[OpenImage], least: np.ndarray, unknown: bool) -> list[Found]:
        """What is found in images of one size, from a score on by class (N,)."""

    def detect(
        self,
        images: Any,
        *,
        min_score: float | None = None,
        unknown: bool = False,
        progress: bool = True,
        unreadable: list[str] | None = None,
    ) -> Detections | Iterator[Detections]:
        """Looks at images.

        Args:
            images: files, folders, globs, addresses, PIL images, arrays, tensors, or any number of these; see
                `data.readers.image_inputs`.
            min_score: detections below are left out; in [0, 1]. None: each class has its threshold (`thresholds`).
            unknown: with objects that belong to no class, called "unknown", with their objectness as score.
            progress: a bar on the terminal where there are many images.
            unreadable: of several images, those that cannot be looked at are passed over where this is given, and a line
                about each is put there.

        Returns:
            For one image its detections, best first; else an iterator over those of all, in their order, computed as they
            are asked for.

        Raises:
            FileNotFoundError: an image that is not there; before any is looked at.
            ValueError: a min_score outside [0, 1]; an image that cannot be looked at, which is named.
            ConnectionError: an address that does not answer.
        """
        check_min_score(min_score)
        if unknown and not self._has_learnt:
            raise UserError("unknown objects are those of no class that was shown: learn classes first")
        inputs = image_inputs(images)
        if is_one_image(images):
            return next(self._found(inputs, min_score, unknown, None))
        total = len(inputs) if isinstance(inputs, list) else None
        return bar(self._found(inputs, min_score, unknown, unreadable), "looking", total, show=progress)

    def _found(
        self, inputs: Iterable[ImageInput], min_score: float | None, unknown: bool, unreadable: list[str] | None
    ) -> Iterator[Detections]:
        names = (*self.classes, UNKNOWN) if unknown else self.classes
        least = np.array([*self.thresholds.values(), *[UNKNOWN_THRESHOLD] * unknown])
        if min_score is not None:
            least[:] = min_score

        def look(records: list[OpenImage]) -> list[Found]:
            return self._look(records, least, unknown)

        for image, record, (seen, nearest) in looked_at(inputs, self._together(inputs), look, unreadable):
            result = Detections(
                **vars(seen),
                nearest=nearest,
                classes=names,
                image=image,
                size=(record.width, record.height),
                supports=self._crops(),
                picture=None if image.path else picture(record),
            )
            yield result[result.scores >= least[result.labels]].best_first()

    def _together(self, inputs: Iterable[ImageInput]) -> int:
        """Images of a batch; a camera's image is not kept waiting for the next."""
        return self.batch_size if isinstance(inputs, list) else 1
