"""Where the shipped detector's export is kept, once for all commands of a user: a folder that may be deleted at any time."""

import hashlib
from pathlib import Path

from repmet.detection.exported.folder import FACTS
from repmet.detection.shipped import SHIPPED, checked
from repmet.installation import cache_folder, version

CODE = ("detection/export", "detection/exported", "detection/modules")


def cached_folder() -> Path:
    """The folder for the export of the shipped weights by this version and this code.

    Raises:
        FileNotFoundError, ValueError: the weights are not there, or others than were released.
    """
    digest = hashlib.sha256(version().encode())
    digest.update(checked(SHIPPED).read_bytes())
    root = Path(__file__).resolve().parents[2]
    for file in sorted(path for folder in CODE for path in (root / folder).glob("*.py")):
        digest.update(file.read_bytes())
    return cache_folder() / "exported" / digest.hexdigest()[:16]


def is_exported(folder: str | Path) -> bool:
    """Whether a folder holds an exported detector."""
    return (Path(folder) / FACTS).is_file()
