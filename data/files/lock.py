"""A folder is one process's while it holds a file in it: others are told, and a process that dies leaves nothing held."""

import os
from pathlib import Path
from typing import IO

from repmet.data.files.atomic import make_folder
from repmet.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: nothing is held there
    fcntl = None  # type: ignore[assignment]


def hold(path: str | Path, busy: str) -> IO[bytes]:
    """Opens a file, which is made, and holds it until it is closed or this process ends.

    Two holders within one process do not exclude each other: locks are POSIX's, a process's own, and work on network disks.

    Args:
        busy: what to say where another process holds it.

    Raises:
        ValueError: another process holds it. OSError: the file cannot be made.
    """
    path = Path(path)
    while True:
        make_folder(path.parent)
        opened = open(path, "ab")  # noqa: SIM115  (held on purpose)
        if fcntl is None:
            return opened
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(opened.fileno()).st_ino:
                return opened
            opened.close()  # whoever held it has taken it away meanwhile
        except FileNotFoundError:
            opened.close()
        except OSError:
            opened.close()
            raise UserError(busy) from None
