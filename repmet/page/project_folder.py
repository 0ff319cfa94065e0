"""A project folder that one page has open: what is said is on disk before the next thing is said, and can be taken back."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock, Timeout

from repmet.errors import UserError
from repmet.files import check_folder, make_folder

STEPS_BACK = 1000  # that can be undone
State = TypeVar("State")


class ProjectFolder(ABC, Generic[State]):
    """A state that is one with the folder's file, and the states before it.

    Args:
        folder: is made where it is not there.
        state: as long as the folder holds none.

    Attributes:
        main: the file of the state. others: what the page writes beside it.

    Raises:
        ValueError: another page has the folder open; its file is none of such a project, or files of others are in the way.
        OSError: it cannot be written to.
    """

    main: str
    others: tuple[str, ...] = ()

    def __init__(self, folder: str | Path, state: State) -> None:
        self.folder = Path(os.path.abspath(folder))
        if not (self.folder / self.main).exists():
            for name in self.others:
                if (self.folder / name).exists():
                    raise UserError(
                        f"{self.folder / name}: is there without {self.main}, so of no project; name another by --project"
                    )
        check_folder(self.folder)
        make_folder(self.folder)
        self._lock = FileLock(str(self.folder / ".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.folder}: another page has this project open; close it, or name another by --project"
            ) from None
        self.state = state
        self._past: list[State] = []
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def _read(self) -> None:
        """Takes the state that the folder's file holds, where there is one."""

    @abstractmethod
    def _write(self, state: State) -> None:
        """Writes the folder's file, whole or not at all."""

    def name_of(self, path: Path) -> str:
        """What an image is called in the project."""
        return Path(os.path.relpath(path, self.folder.parent)).as_posix()

    def change(self, state: State) -> None:
        """Takes a new state in the place of the present one: on disk first, so that what is shown is kept.

        Raises:
            OSError: the disk is full or gone; nothing has changed then.
        """
        if state == self.state:
            return
        self._write(state)
        self._past = [*self._past[1 - STEPS_BACK :], self.state]
        self.state = state

    def undo(self) -> bool:
        """Takes the last change back; False where there is none."""
        if not self._past:
            return False
        self._write(self._past[-1])
        self.state = self._past.pop()
        return True

    def close(self) -> None:
        """Lets another page open the folder."""
        self._lock.release()
