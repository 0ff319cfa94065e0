"""Event files: what is written, and what a full disk does to the training behind them."""

import struct
import threading
import warnings
from pathlib import Path

import pytest
from tensorboardX.proto import event_pb2

from repmet.experiments.running.tensorboard import TensorboardXVisBackend

VALUES = 600  # more than tensorboardX's queue and the file's buffer hold


def test_a_full_disk_stops_the_events_and_not_the_training(tmp_path: Path, room) -> None:
    backend = TensorboardXVisBackend(str(tmp_path))

    def train() -> None:
        for step in range(VALUES):
            backend.add_scalar("loss", 1 / (1 + step), step)
        backend.close()

    with warnings.catch_warnings(record=True) as said, room(9000):
        warnings.simplefilter("always")
        training = threading.Thread(target=train, daemon=True)
        training.start()
        training.join(60)
        assert not training.is_alive()
    (file,) = tmp_path.iterdir()
    assert [str(warning.message) for warning in said] == [f"{file}: no more events are written: File too large"]
    assert 0 < file.stat().st_size <= 9000


def losses(file: Path) -> dict[int, float]:
    """By step what a file of TFRecords holds: each is its length (8 bytes), a checksum (4), an event, a checksum (4)."""
    content, values, start = file.read_bytes(), {}, 0
    while start < len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        event = event_pb2.Event.FromString(content[start + 12 : start + 12 + length])
        values.update((event.step, value.simple_value) for value in event.summary.value if value.tag == "loss")
        start += length + 16
    return values


def test_with_room_all_values_are_there(tmp_path: Path) -> None:
    backend = TensorboardXVisBackend(str(tmp_path))
    for step in range(VALUES):
        backend.add_scalar("loss", 1 / (1 + step), step)
    backend.close()
    (file,) = tmp_path.iterdir()
    assert losses(file) == pytest.approx({step: 1 / (1 + step) for step in range(VALUES)})
