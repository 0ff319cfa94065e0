"""Pictures written beside the rest: all of them, in any case, and what cannot be written is said."""

import threading

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.image_inputs import ImageInput
from repmet.detection.drawing_thread import WAITING, Drawing
from repmet.detection.results import Detections


def detections_in(source) -> Detections:
    size = (40, 30)
    return Detections(
        boxes=np.array([[3, 4, 20, 18]], np.float32),
        scores=np.array([0.9], np.float32),
        labels=np.zeros(1, np.int64),
        classes=("thing",),
        image=ImageInput(str(source), source),
        size=size,
        nearest=np.full(1, -1),
    )


def test_every_picture_is_there_when_the_block_is_left(tmp_path) -> None:
    shown = Image.new("RGB", (40, 30), (10, 200, 30))
    with Drawing() as drawing:
        for k in range(9):
            drawing.add(detections_in(shown), tmp_path / f"{k}.png")
            assert len(drawing._waiting) <= WAITING
    for k in range(9):
        np.testing.assert_array_equal(Image.open(tmp_path / f"{k}.png"), detections_in(shown).plot())


def test_what_cannot_be_written_is_said_once_and_the_rest_is_not_begun(tmp_path) -> None:
    shown = Image.new("RGB", (40, 30))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"), Drawing() as drawing:
        for k in range(9):
            drawing.add(detections_in(shown), tmp_path / "file" / f"{k}.png")
    with pytest.raises(ValueError, match=r"gone\.jpg"), Drawing() as drawing:
        drawing.add(detections_in(tmp_path / "gone.jpg"), tmp_path / "0.png")


def test_after_an_error_of_the_detector_that_error_is_raised(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="of the detector"), Drawing() as drawing:
        drawing.add(detections_in(tmp_path / "gone.jpg"), tmp_path / "0.png")
        raise RuntimeError("of the detector")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("drawing")]


def test_a_large_photograph_is_drawn_from_a_smaller_reading(tmp_path) -> None:
    from dataclasses import replace

    soft = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).resize((2400, 1800))
    soft.save(tmp_path / "large.jpg", quality=95)
    large = replace(
        detections_in(tmp_path / "large.jpg"), size=(2400, 1800), boxes=np.array([[300, 400, 2000, 1500]], np.float32)
    )
    drawn = np.asarray(large.plot()).astype(int)
    whole = np.asarray(replace(large, picture=soft).plot()).astype(int)
    assert drawn.shape == whole.shape == (675, 900, 3)
    assert np.abs(drawn - whole).mean() < 3
