"""Damage in the middle of a file is found by reading it to its end; what was found whole is not read again."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.files import bodies, tensor_cache
from repmet.data.files.bodies import damaged
from repmet.data.files.pictures import picture_problem


def spoil(path: Path) -> None:
    """Damages the pixels and leaves head and end as they are."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(tensor_cache, "CACHE", tmp_path / "cache")
    paths = [tmp_path / f"{k}.{kind}" for k, kind in enumerate(("png", "jpg", "png"))]
    for k, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return paths


def test_damage_between_head_and_end_is_named(photos) -> None:
    assert damaged(photos) == []
    spoil(photos[2])
    assert picture_problem(photos[2], (80, 60)) is None, "head and end do not tell"
    (problem,) = damaged(photos)
    assert problem.startswith(f"{photos[2]}: cannot be read as an image")
    photos[0].unlink()
    assert [p.split(":")[0] for p in damaged(photos)] == [str(photos[0]), str(photos[2])]


def test_what_was_whole_is_read_again_only_when_it_changes(photos, monkeypatch) -> None:
    read = []
    whole = bodies.open_rgb
    monkeypatch.setattr(bodies, "open_rgb", lambda path, **how: read.append(path) or whole(path, **how))
    assert damaged(photos) == damaged(photos) == damaged([*photos, photos[0]]) == [] and len(read) == 3
    os.utime(photos[1], ns=(1, 1))
    assert damaged(photos) == [] and len(read) == 6
