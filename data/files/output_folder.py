"""A folder of results: a command replaces there what it wrote before, and no file of anybody else's.

People name folders that they know: beside their images, or a data set that they marked by hand. What a run writes is noted
in the folder, by size and time. A file in its place that is not noted, or was changed since (labels that a person
corrected), stops the next run before anything is written.
"""

import contextlib
import json
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from repmet.data.files.atomic import write_json
from repmet.data.files.whole_folder import whole_folder
from repmet.errors import UserError

NOTE = ".repmet_wrote.json"
Facts = list[int]  # bytes, and nanoseconds of the last change
Noted = dict[str, list[Facts]]


@contextlib.contextmanager
def output_folder(folder: str | Path, renewed: str | None = None, whole: str | None = None) -> Iterator[Path]:
    """As `whole_folder`, of files that take the place of this project's alone.

    Args:
        renewed: a folder below, whose files of earlier runs are taken away.
        whole: as of `check_output`.

    Raises:
        ValueError: a file in the way, as `check_output` says; nothing has been written then.
        OSError: as `whole_folder`.
    """
    folder = Path(folder)
    with whole_folder(folder) as aside:
        yield aside
        written = {path.relative_to(aside).as_posix(): _facts(path) for path in aside.rglob("*") if path.is_file()}
        check_output(folder, written, whole)
        noted = _noted(folder)
        both = {name: [*noted.get(name, []), facts] for name, facts in written.items()}
        write_json(folder / NOTE, noted | both, indent=None)  # of a run that is killed from here on either may be there
    kept = noted
    if renewed is not None:
        kept = {name: facts for name, facts in noted.items() if not name.startswith(f"{renewed}/")}
        for name in noted.keys() - kept.keys() - written.keys():
            if _facts(folder / name) in noted[name]:
                (folder / name).unlink(missing_ok=True)
    write_json(folder / NOTE, kept | {name: [facts] for name, facts in written.items()}, indent=None)


def check_output(folder: str | Path, names: Iterable[str], whole: str | None = None) -> None:
    """Whether files may be written to a folder: a command asks before it spends time.

    Args:
        names: of the files, below the folder.
        whole: a folder below whose files make one set: none of an earlier run may be left among them.

    Raises:
        ValueError: a file is there that no run of this project wrote, or that was changed since, or is left.
    """
    folder, names = Path(folder), set(names)
    noted = _noted(folder)
    for name in sorted(noted.keys() - names):
        if whole is not None and name.startswith(f"{whole}/") and (folder / name).exists():
            raise UserError(f"{folder / name}: is of an earlier run on other images; name another folder, or move it")
    for name in sorted(names):
        facts = _facts(folder / name)
        if facts is not None and facts not in noted.get(name, []):
            raise UserError(
                f"{folder / name}: was not written by an earlier run, or was changed since; name another folder, or move it"
            )


def _facts(path: Path) -> Facts | None:
    """None where there is no file; of a link, its own."""
    try:
        state = path.lstat()
    except OSError:
        return None
    return None if stat.S_ISDIR(state.st_mode) else [state.st_size, state.st_mtime_ns]


def _noted(folder: Path) -> Noted:
    """What was written here before; nothing where the note is damaged, so that what is there stays."""
    try:
        noted = json.loads((folder / NOTE).read_bytes())
        return {
            name: [[int(number) for number in facts] for facts in listed]
            for name, listed in noted.items()
            if ".." not in name.split("/")  # a note that somebody else has made leads nowhere else
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
