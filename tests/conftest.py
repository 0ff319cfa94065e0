"""Fixtures that more than one folder of tests uses."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch


def pytest_configure() -> None:
    """What the tests, and the commands that they start, compute is kept until pytest ends."""
    os.environ["REPMET_CACHE"] = tempfile.mkdtemp(prefix="repmet-tests-")


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["REPMET_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def repmet_data() -> Path:
    """The folder of real images that `REPMET_DATA` names; tests that need it are skipped where it is not set."""
    folder = os.environ.get("REPMET_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real images: set REPMET_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def shipped_detector():
    """`FewShotDetector()` as its checkpoint opens; nobody changes it."""
    from repmet.detection.checkpoint import open_detector

    return open_detector()


@pytest.fixture(scope="session")
def exported_photos(shipped_detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped detector, exported as ONNX."""
    pytest.importorskip("onnx")
    from repmet.detection.export.write import export_detector

    folder = tmp_path_factory.mktemp("exported")
    export_detector(shipped_detector, folder)
    return folder


@pytest.fixture(scope="session")
def room() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """`with room(n):` no file of this process grows beyond n bytes, as on a disk that is full there."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores the signal that comes with it
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _no_default_scope() -> Iterator[None]:
    """A Runner makes its experiment's scope the process's own: what one file leaves, the next must not look names up in."""
    _scopes().clear()
    yield
    _scopes().clear()


@pytest.fixture(autouse=True)
def _default_scope() -> Iterator[None]:
    """Nor one test what another of its file leaves."""
    kept = dict(_scopes())
    yield
    _scopes().clear()
    _scopes().update(kept)


def _scopes() -> dict:
    """mmengine's default scopes; csrc is tested where there is no mmengine."""
    registry = sys.modules.get("mmengine.registry")
    return {} if registry is None else registry.DefaultScope._instance_dict
