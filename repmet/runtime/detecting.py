"""What the exported graph, and the classes that were learnt with it, find in images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repmet.detection.detecting import DetectsClasses
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.exported.look import ExportedDetector
from repmet.detection.exported.tiled import look_in_tiles
from repmet.detection.looking import Found
from repmet.detection.scoring import detections
from repmet.detection.scoring.calibration import PLAIN_THRESHOLD
from repmet.runtime.known_classes import Taught


class DetectsByGraph(DetectsClasses):
    """The part of `FewShotDetector` that looks: a frozen graph, then the classes by arithmetic."""

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

    @property
    def _has_learnt(self) -> bool:
        return self._taught is not None

    def _crops(self) -> NDArray[np.uint8] | None:
        return self._taught.known.crops if self._taught else None

    def _look(self, records: list[OpenImage], least: NDArray[np.float64], unknown: bool) -> list[Found]:
        return [self._look_at(record, least, unknown) for record in records]

    def _look_at(self, record: OpenImage, least: NDArray[np.float64], unknown: bool) -> Found:
        name = record.id.partition(": ")[2] or record.id
        if self._taught is not None:
            known = self._taught.known
            return known.detect(look_in_tiles(self.exported, record, known.tile, name=name), least, unknown=unknown)
        seen = self.exported.look(record.pixels, name=name)
        kept = seen.object_scores >= least[0]
        objects = detections.Detections(seen.objects[kept], seen.object_scores[kept], np.zeros(kept.sum()))
        return objects, np.full(len(objects), -1)
