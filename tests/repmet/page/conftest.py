"""Small scenes of coloured things, and a session on them with the colour detector; no browser and no network here."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from coloured_things import ColourDetector, lay_out

from repmet.page.gallery import Gallery
from repmet.page.project import Project
from repmet.page.session import Session
from repmet.page.teacher import Teacher


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "scenes")


@pytest.fixture
def detector() -> ColourDetector:
    return ColourDetector()


@pytest.fixture
def opened(scenes: Path, detector: ColourDetector):
    """Opens sessions on the scenes, one after the other, and ends them."""
    sessions = []

    def open_session(saved=None, detector=detector) -> Session:
        for session in sessions:
            session.end()
        project = scenes / "repmet-page"
        sessions.append(Session(Gallery([scenes], project), Project(project), lambda: Teacher(detector, saved)))
        sessions[-1].start()
        assert sessions[-1].finder.wait(20), sessions[-1].finder.problem
        return sessions[-1]

    yield open_session
    for session in sessions:
        session.end()


@pytest.fixture
def session(opened) -> Session:
    return opened()


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("REPMET_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        program = program or playwright.chromium.executable_path
        if not Path(program).exists():
            pytest.skip("needs chromium: make browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path) -> Iterator:
    """Starts a page on a folder with the colour detector."""
    from person import HERE, Server

    servers = []

    def start(folder: Path, *words: str) -> object:
        servers.append(Server(*(words or (str(HERE / "coloured_things.py"), str(folder), str(folder / "repmet-page")))))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()
