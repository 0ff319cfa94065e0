"""Detection in images of every kind without torch: the part of `repmet.runtime.FewShotDetector` that looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repmet.data.readers.image_inputs import ImageInput, image_inputs, is_one_image
from repmet.detection.episodes.open_image import OpenImage, picture
from repmet.detection.exported.look import ExportedDetector
from repmet.detection.exported.tiled import look_in_tiles
from repmet.detection.looking import Found, check_min_score, looked_at
from repmet.detection.results import Detections
from repmet.detection.scoring import detections
from repmet.detection.scoring.calibration import PLAIN_THRESHOLD, UNKNOWN, UNKNOWN_THRESHOLD
from repmet.errors import UserError
from repmet.progress import progress as bar
from repmet.runtime.known_classes import Taught


class DetectsClasses:
    """The part of `FewShotDetector` that looks at images; of what was learnt it changes nothing."""

    exported: ExportedDetector
    _taught: Taught | None

    @property
    def classes(self) -> tuple[str, ...]:
        """What `detect` looks for; before `learn`, objects of any class."""
        return self._taught.known.classes if self._taught else self.exported.facts.classes

    @property
    def thresholds(self) -> dict[str, float]:
        """By class, the score from which on a find is shown unless `detect` is told otherwise."""
        values = self._taught.known.thresholds.tolist() if self._taught else [PLAIN_THRESHOLD] * len(self.classes)
        return dict(zip(self.classes, values, strict=True))

    def detect(
        self,
        images: Any,
        *,
        min_score: float | None = None,
        unknown: bool = False,
        progress: bool = True,
        unreadable: list[str] | None = None,
    ) -> Detections | Iterator[Detections]:
        """Looks at images. Arguments, results and errors as of `detection.few_shot_detector.FewShotDetector.detect`."""
        check_min_score(min_score)
        if unknown and self._taught is None:
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
            return [self._look(record, least, unknown) for record in records]

        for image, record, (result, nearest) in looked_at(inputs, 1, look, unreadable):
            yield Detections(
                **vars(result),
                nearest=nearest,
                classes=names,
                image=image,
                size=(record.width, record.height),
                supports=self._taught.known.crops if self._taught else None,
                picture=None if image.path else picture(record),
            ).best_first()

    def _look(self, record: OpenImage, least: NDArray[np.float64], unknown: bool) -> Found:
        name = record.id.partition(": ")[2] or record.id
        if self._taught is not None:
            known = self._taught.known
            return known.detect(look_in_tiles(self.exported, record, known.tile, name=name), least, unknown=unknown)
        seen = self.exported.look(record.pixels, name=name)
        kept = seen.object_scores >= least[0]
        objects = detections.Detections(seen.objects[kept], seen.object_scores[kept], np.zeros(kept.sum()))
        return objects, np.full(len(objects), -1)
