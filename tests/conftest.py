"""Fixtures that more than one folder of tests uses."""

import os
from pathlib import Path

import pytest
import torch


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
