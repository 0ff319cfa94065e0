"""Where this package lies, in a checkout or installed, and what follows from it: its version, and where files land."""

import os
from functools import cache
from pathlib import Path


def checkout() -> Path | None:
    """The checkout that this package runs from; None where it is installed."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "setup.py").is_file() and (root / "csrc").is_dir() else None


@cache
def version() -> str:
    """The version of the distribution; of a checkout that is not installed, what its pyproject.toml says."""
    root = checkout()
    if root is not None:
        lines = (root / "pyproject.toml").read_text(encoding="utf-8").splitlines()
        (line,) = [line for line in lines if line.startswith("version = ")]
        return line.partition("=")[2].strip().strip('"')
    from importlib import metadata  # here: a twentieth of a second, which a checkout need not wait for

    return metadata.version("repmet")


def cache_folder() -> Path:
    """Where files land that can be made again: what REPMET_CACHE names, else data/cache of a checkout, else the user's own
    folder for caches (`XDG_CACHE_HOME/repmet`)."""
    named = os.environ.get("REPMET_CACHE")
    if named:
        return Path(named)
    root = checkout()
    return _user_cache() if root is None else root / "data" / "cache"


def data_folder(root: str | Path) -> Path:
    """An experiment's folder of data as it is written in it.

    Relative ones lie below the folder that a command is started in. Where the package is installed and there is no such
    folder, those below `data` (the checkout's name for them) lie in the user's own folder for caches.
    """
    path = Path(root)
    ours = not path.is_absolute() and path.parts[:1] == ("data",)
    return _user_cache() / path if ours and checkout() is None and not path.exists() else path


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("repmet", appauthor=False)
