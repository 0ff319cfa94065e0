"""A file that a process holds: another one is told, one that is killed holds nothing."""

import os
import signal
from pathlib import Path

import pytest

from repmet.data.files.lock import hold
from repmet.errors import UserError


def holder(path: Path) -> int:
    """A process that holds the file until it is killed."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        held = hold(path, "busy")
        os.write(write, b"x")
        signal.pause()
        os._exit(held.fileno())
    os.read(read, 1)
    return child


def test_another_process_is_told_until_the_first_is_dead(tmp_path: Path) -> None:
    child = holder(tmp_path / "out/.held")
    with pytest.raises(UserError, match="out: somebody writes there"):
        hold(tmp_path / "out/.held", f"{tmp_path / 'out'}: somebody writes there")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with hold(tmp_path / "out/.held", "busy"):
        pass


def test_what_was_taken_away_meanwhile_is_made_anew(tmp_path: Path) -> None:
    child = holder(tmp_path / ".held")
    (tmp_path / ".held").unlink()  # as a command does at its end
    with hold(tmp_path / ".held", "busy"):
        assert (tmp_path / ".held").is_file()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_one_process_does_not_wait_for_itself(tmp_path: Path) -> None:
    with hold(tmp_path / ".held", "busy"), hold(tmp_path / ".held", "busy"):
        pass
