"""Files of lines that are written while a run goes on, each whole."""

from pathlib import Path

from repmet.data.files.atomic import make_folder, naming


class LineWriter:
    """A new file, to which lines are added one at a time; a line for which there is no room is not begun.

    Used as a context manager, which closes it. Errors of the disk name the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        make_folder(self.path.parent)
        with naming(self.path):
            self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115  (closed by `__exit__`)

    def write(self, line: str) -> None:
        """Adds a line, in UTF-8. Raises OSError; the file then ends with the line before."""
        rest, start = memoryview(f"{line}\n".encode()), self._file.tell()
        with naming(self.path):
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(start)
                raise

    def __enter__(self) -> "LineWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
