"""One process at a time where two would spoil each other's work."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def alone(path: str | Path) -> Iterator[None]:
    """Waits until no other process is in such a block for `path`; a process that is killed is in none.

    By a lock on a hidden file beside `path`, which is taken away. Where the system has no such locks nobody waits.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    if fcntl is None:
        yield
        return
    while True:
        file, held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666), False
        try:
            with contextlib.suppress(OSError):  # some network file systems have none
                fcntl.flock(file, fcntl.LOCK_EX)
            held = _is_file_at(file, lock)
            if held:  # else who had it has taken it away meanwhile, and a third may hold the next
                yield
                return
        finally:
            if held:
                lock.unlink(missing_ok=True)
            os.close(file)


def _is_file_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
