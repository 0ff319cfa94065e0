"""Fixtures that more than one folder of tests uses."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope


@pytest.fixture(scope="session")
def repmet_data() -> Path:
    """The folder of real images that `REPMET_DATA` names; tests that need it are skipped where it is not set."""
    folder = os.environ.get("REPMET_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real images: set REPMET_DATA to their folder")
    return Path(folder)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _no_default_scope() -> Iterator[None]:
    """A Runner makes its experiment's scope the process's own: what one file leaves, the next must not look names up in."""
    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True)
def _default_scope() -> Iterator[None]:
    """Nor one test what another of its file leaves."""
    kept = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(kept)
