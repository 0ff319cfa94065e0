"""A progress bar on stderr, where that is a terminal: scripts and logs stay clean."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
WORTH_A_BAR = 8  # items


def progress(items: Iterable[Item], what: str, total: int | None, *, show: bool = True) -> Iterator[Item]:
    """Passes the items on, with a bar while they are worked on.

    Args:
        what: the line's beginning, such as `looking`.
        total: how many there are; None where nobody knows.
        show: False never shows one; True shows one on a terminal where there are at least `WORTH_A_BAR` items.
    """
    if not show or not sys.stderr.isatty() or (total is not None and total < WORTH_A_BAR):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, what, total=total, console=Console(stderr=True), transient=True)
