"""What a long run has made so far: a line of JSON an item, in a file for each process, which a second run takes up."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from repmet.data.files.lines import LineWriter

Item = tuple[str | int | None, ...]


class Place(NamedTuple):
    """Where a line stands."""

    file: Path
    offset: int


class Journal:
    """The lines of one piece of work, in a folder that holds nothing else.

    Each line is an object with `item`, a list that names it and changes when it does. A line that a killed process has left
    unfinished is none.

    Args:
        folder: is made with the first line.
        process: the name of this process's file; no other process writes into it.
    """

    def __init__(self, folder: Path, process: str) -> None:
        self.folder, self.file = folder, folder / f"{process}.jsonl"
        self._writer: LineWriter | None = None

    def add(self, item: Item, entry: dict[str, Any]) -> None:
        """Keeps what was made of an item. Raises OSError; the lines before stay whole."""
        if self._writer is None:
            self._writer = LineWriter(self.file)
        self._writer.write(json.dumps({"item": item} | entry, ensure_ascii=False))

    def places(self) -> dict[Item, Place]:
        """By item, where the lines of all processes stand, of this run and of those before."""
        return {
            tuple(line["item"]): Place(file, offset)
            for file in sorted(self.folder.glob("*.jsonl"))
            for offset, line in _lines(file)
        }

    @staticmethod
    def read(places: Iterable[Place]) -> Iterator[dict[str, Any]]:
        """The lines at some places, one after the other: of none more than the one at hand is in memory."""
        with ExitStack() as stack:
            opened = {}
            for place in places:
                if place.file not in opened:
                    opened[place.file] = stack.enter_context(open(place.file, "rb"))
                opened[place.file].seek(place.offset)
                yield json.loads(opened[place.file].readline())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.__exit__()


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with open(file, "rb") as opened:
        offset = 0
        for text in opened:
            try:
                line = json.loads(text) if text.endswith(b"\n") else None
            except ValueError:
                line = None
            if isinstance(line, dict) and isinstance(line.get("item"), list):
                yield offset, line
            offset += len(text)
