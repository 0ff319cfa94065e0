"""Detection in images of every kind: the part of `FewShotDetector` that looks.

Shapes: N classes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from mmengine.config import Config
from torch import nn

from repmet.data.readers.image_inputs import ImageInput, image_inputs, is_one_image
from repmet.detection.base_detections import base_detections
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.embedding.tiled import embedded_in_tiles
from repmet.detection.episodes.open_image import OpenImage, picture
from repmet.detection.looking import Found, check_min_score, looked_at
from repmet.detection.results import Detections
from repmet.detection.saved_classes import SavedClasses
from repmet.detection.scoring.calibration import UNKNOWN, UNKNOWN_THRESHOLD
from repmet.errors import UserError
from repmet.progress import progress as bar


class DetectsClasses:
    """The part of `FewShotDetector` that looks at images; of what was learnt it changes nothing."""

    model: nn.Module
    cfg: Config
    batch_size: int
    learnt: SavedClasses | None
    embedder: Embedder
    classes: tuple[str, ...]
    thresholds: dict[str, float]

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
        if unknown and self.learnt is None:
            raise UserError("unknown objects are those of no class that was shown: learn classes first")
        inputs = image_inputs(images)
        if is_one_image(images):
            return next(self._found(inputs, min_score, unknown, None))
        total = len(inputs) if isinstance(inputs, list) else None
        return bar(self._found(inputs, min_score, unknown, unreadable), "looking", total, show=progress)

    def embed(self, images: Any, *, progress: bool = True, unreadable: list[str] | None = None) -> int:
        """Looks at images ahead of time, before any class is learnt or while there is nothing else to do: what the network
        makes of them is kept, in `cache` where there is one, and to detect in them is arithmetic from then on.

        Args:
            images, progress, unreadable: as in `detect`.

        Returns:
            How many were looked at.

        Raises:
            As `detect`; ValueError: the head has no embedding.
        """
        inputs = image_inputs(images)
        together = self.batch_size if isinstance(inputs, list) else 1
        total = len(inputs) if isinstance(inputs, list) else None

        def look(records: list[OpenImage]) -> list[Any]:
            embedded = self.embedder(records)
            return [embedded[record.id] for record in records]

        return sum(1 for _ in bar(looked_at(inputs, together, look, unreadable), "looking", total, show=progress))

    def _found(
        self, inputs: Iterable[ImageInput], min_score: float | None, unknown: bool, unreadable: list[str] | None
    ) -> Iterator[Detections]:
        together = self.batch_size if isinstance(inputs, list) else 1  # a camera's image is not kept waiting for the next
        names = (*self.classes, UNKNOWN) if unknown else self.classes
        least = self._least(min_score, len(names))
        for image, record, (seen, nearest) in looked_at(
            inputs, together, lambda records: self._look(records, least, unknown), unreadable
        ):
            result = Detections(
                **vars(seen),
                nearest=nearest,
                classes=names,
                image=image,
                size=(record.width, record.height),
                supports=self.learnt.crops.numpy() if self.learnt else None,
                picture=None if image.path else picture(record),
            )
            yield result[result.scores >= least[result.labels]].best_first()

    def _least(self, min_score: float | None, classes: int) -> np.ndarray:
        """By class, the score from which on finds are shown."""
        if min_score is None:
            shown = list(self.thresholds.values())
            return np.array(shown + [UNKNOWN_THRESHOLD] * (classes - len(shown)))
        return np.full(classes, min_score)

    def _look(self, records: list[OpenImage], least: np.ndarray, unknown: bool) -> list[Found]:
        if self.learnt is None:
            return base_detections(self.model, self.cfg.test_pipeline, records)
        embedded = embedded_in_tiles(records, self.embedder, self.learnt.tile)
        return [self.learnt.detect(embedded[record.id], least, unknown=unknown) for record in records]
