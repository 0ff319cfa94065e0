"""A line of the doctor's report."""

import importlib.metadata
from dataclasses import dataclass


@dataclass
class Finding:
    """One line of the report; `level` is "ok", "warn" or "FAIL"."""

    level: str
    what: str
    said: str
    repair: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<5} {self.what:<14} {self.said}"
        return f"{line}\n      {'':<14} -> {self.repair}" if self.repair else line


def installed(distribution: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
