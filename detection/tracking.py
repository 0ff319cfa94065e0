"""Detections of a video's frames joined into tracks: by ByteTrack (Zhang et al., ECCV 2022) of the package `trackers`.

Finds above a class's threshold begin tracks; those below it only carry tracks on, through moments in which an object is
hardly seen. Each class has a tracker of its own, so that a track never changes its class.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from repmet.data.files.video import CAMERA_RATE
from repmet.errors import MissingPackage

if TYPE_CHECKING:
    from repmet.detection.results import Detections

LEAST_LOST = 5.0  # looked-at frames for which a lost object is remembered at least; else a second's


def check_trackers() -> None:
    """Raises ImportError where `trackers` is not installed."""
    if importlib.util.find_spec("trackers") is None:
        raise MissingPackage("tracks need the extra `video`: pip install 'repmet[video]'")


def track(results: Iterable[Detections], thresholds: Mapping[str, float] | float = 0.5) -> Iterator[Detections]:
    """Gives the detections of one video after the other their tracks, as they come.

    Args:
        results: of frames in their order, as `FewShotDetector.detect` gives them of a video; with a low `min_score`, so that
            there is something to carry tracks on.
        thresholds: the score from which on a find begins a track; by class, as `FewShotDetector.thresholds`, or for all.

    Returns:
        The same detections with `tracks`: numbers from 1 that an object keeps, and -1 of a find that belongs to none; the
        first find of an object is one, until a second one confirms it.

    Raises:
        ImportError: `trackers` is not installed.
    """
    check_trackers()
    from trackers import ByteTrackTracker

    by_class: dict[int, Any] = {}
    numbers: dict[tuple[int, int], int] = {}
    for frame in results:
        rate = (frame.image.frame and frame.image.frame.rate) or CAMERA_RATE
        tracks = np.full(len(frame), -1)
        everything = frame.to_supervision()
        for label, name in enumerate(frame.classes):
            if label not in by_class:
                least = thresholds if isinstance(thresholds, float | int) else thresholds.get(name, 0.5)
                by_class[label] = ByteTrackTracker(
                    frame_rate=max(rate, LEAST_LOST),
                    track_activation_threshold=float(least),
                    high_conf_det_threshold=float(least),
                )
            rows = np.flatnonzero(frame.labels == label)
            of_class = everything[rows]
            of_class.data = {"row": rows}
            joined = by_class[label].update(of_class)
            for row, number in zip(joined.data.get("row", ()), joined.tracker_id, strict=True):
                if number >= 0:
                    tracks[row] = numbers.setdefault((label, int(number)), len(numbers) + 1)
        yield replace(frame, tracks=tracks)
