"""Small scenes of coloured things, and a session on them with the colour detector; no browser and no network here."""

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
