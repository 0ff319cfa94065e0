"""Tracks: an object keeps its number from frame to frame, whatever it passes, however weakly it is found for a moment."""

import sys

import numpy as np
import pytest
from PIL import Image

from repmet import Detections, track
from repmet.data.files.video import FrameTime
from repmet.data.readers.image_inputs import ImageInput
from repmet.errors import MissingPackage

CLASSES = ("nut", "washer")


def frame(number: int, things: list[tuple[str, float, float, float]]) -> Detections:
    """Things of 20 pixels: class, score, x and y."""
    image = ImageInput(f"clip.mp4@{number / 10}s", Image.new("RGB", (9, 9)), FrameTime(number, number / 10, 10.0))
    return Detections(
        boxes=np.array([(x, y, x + 20, y + 20) for *_, x, y in things]),
        scores=np.array([score for _, score, *_ in things]),
        labels=np.array([CLASSES.index(name) for name, *_ in things]),
        classes=CLASSES,
        image=image,
        size=(300, 200),
        nearest=np.full(len(things), -1),
    )


def tracks(frames, **more) -> list[list[int]]:
    return [result.tracks.tolist() for result in track(iter(frames), **more)]


def test_two_that_move_keep_their_numbers_in_whatever_order_they_come():
    pytest.importorskip("trackers")
    frames = []
    for k in range(12):
        things = [("nut", 0.9, 5 * k, 10), ("nut", 0.8, 100 - 5 * k, 60)]
        frames.append(frame(k, things[:: 1 if k % 2 else -1]))
    numbers_by_frame = tracks(frames)
    assert numbers_by_frame[0] == [-1, -1] and sorted(numbers_by_frame[1]) == [1, 2]
    assert all(
        numbers == (numbers_by_frame[1] if k % 2 else numbers_by_frame[1][::-1])
        for k, numbers in enumerate(numbers_by_frame)
        if k
    )


def test_a_weak_find_carries_a_track_on_and_begins_none():
    pytest.importorskip("trackers")
    strong, weak = [("nut", 0.9, 50, 50)], [("nut", 0.2, 50, 50)]
    elsewhere = ("nut", 0.2, 200, 100)
    numbers_by_frame = tracks([frame(k, weak if k in (4, 5) else [*strong, elsewhere]) for k in range(9)])
    assert [numbers[0] for numbers in numbers_by_frame] == [-1] + [1] * 8
    assert {numbers[1] for k, numbers in enumerate(numbers_by_frame) if k not in (4, 5)} == {-1}
    everything = tracks([frame(k, weak) for k in range(4)], thresholds={"nut": 0.1, "washer": 0.5})
    assert everything == [[-1], [1], [1], [1]]


def test_an_object_that_is_gone_for_a_moment_is_known_again_and_later_it_is_new():
    pytest.importorskip("trackers")
    there, gone = [("nut", 0.9, 50, 50)], []
    for pause, last in ((3, 1), (30, 2)):  # frames; a second has ten
        numbers_by_frame = tracks([frame(k, there if k < 5 or k >= 5 + pause else gone) for k in range(10 + pause)])
        assert numbers_by_frame[1] == [1] and numbers_by_frame[5] == [] and numbers_by_frame[-1] == [last]


def test_a_track_has_one_class():
    pytest.importorskip("trackers")
    numbers_by_frame = tracks([frame(k, [("nut", 0.9, 50, 50), ("washer", 0.9, 50, 50)]) for k in range(4)])
    assert numbers_by_frame[1:] == [[1, 2]] * 3


def test_tracks_go_where_the_detections_go():
    pytest.importorskip("trackers")
    last = list(track(frame(k, [("nut", 0.9, 50, 50), ("nut", 0.6, 150, 50)]) for k in range(3)))[-1]
    assert last.filter(0.7).tracks.tolist() == [1] and last[1].tracks.tolist() == [2]
    assert last.to_supervision().tracker_id.tolist() == [1, 2]
    assert frame(0, []).to_supervision().tracker_id is None


def test_frames_are_asked_for_one_by_one():
    pytest.importorskip("trackers")
    taken = []

    def frames():
        for k in range(5):
            taken.append(k)
            yield frame(k, [("nut", 0.9, 50, 50)])

    results = track(frames())
    next(results)
    assert taken == [0]


def test_without_trackers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(MissingPackage, match=r"pip install 'repmet\[video\]'"):
        next(track([]))
