"""Pictures and plots as files, whole or not at all."""

from pathlib import Path
from typing import Any

from PIL import Image

from repmet.data.files.atomic import write_atomically
from repmet.data.files.lettering import lettered


def save_picture(picture: Image.Image, path: str | Path, **options: Any) -> None:
    """Writes a picture in the format that the file's name says.

    Args:
        options: of the format, as Pillow's `save` takes them.

    Raises:
        OSError: as `write_atomically`.
    """
    kind = Image.registered_extensions()[Path(path).suffix.lower()]
    write_atomically(path, lambda file: picture.save(file, format=kind, **options))


def save_plot(figure: Any, path: str | Path) -> None:
    """Writes a figure of matplotlib, with names in any script, in the format that the file's name says.

    Raises:
        OSError: as `write_atomically`.
    """
    with lettered(figure):
        write_atomically(path, lambda file: figure.savefig(file, format=Path(path).suffix.lower().removeprefix(".")))
