"""Which file a COCO annotation's `file_name` means, in the folders that people keep their images in."""

import errno
from collections.abc import Callable
from functools import cache
from pathlib import Path, PureWindowsPath

from repmet.data.files.names import as_it_lies, composed
from repmet.data.files.pictures import is_image_file
from repmet.data.files.walk import files_below
from repmet.data.readers.parts import folder_part, part_of

_ANNOTATIONS = ("annotations", "annotation", "labels")


def picture_finder(path: Path, images: Path | None) -> Callable[[str], Path | str]:
    """A function from a `file_name` to the picture, or to what is wrong as the end of a sentence.

    A picture lies where its name says: in the folder `images`, else beside the annotation file, or of a file of no part in
    `images` beside it. Otherwise it is looked for
    below: under the folders that its name has as far as they are there, in the folder of the annotation file's part
    (`train` of instances_train.json), its suffix in any case. Where several files are left, none is taken.

    Args:
        path: the annotation file.
        images: the folder of the images, where it is known.
    """
    beside = images or path.parent
    # Annotations often lie in a folder of their own, beside those of the images.
    top = images or (path.parent.parent if path.parent.name.lower() in _ANNOTATIONS else path.parent)
    part = part_of(path.stem, path.parent.name)

    @cache
    def below() -> dict[str, list[Path]]:
        """The images below, by name in lower case; the folders are walked only where that is needed."""
        by_name: dict[str, list[Path]] = {}
        for file in filter(is_image_file, files_below(top)):
            by_name.setdefault(composed(file.name).lower(), []).append(file)
        return by_name

    def find(name: str) -> Path | str:
        steps = PureWindowsPath(composed(name.strip())).parts  # splits at both kinds of slash
        if name and (picture := _file_at(beside / name)):
            return picture
        if name and part is None and (picture := _file_at(beside / "images" / name)):
            return picture
        places = below().get(steps[-1].lower(), []) if steps else []
        places = [file for file in places if composed(file.name) == steps[-1]] or places
        depth = max((_alike(file, steps) for file in places), default=0)
        places = [file for file in places if _alike(file, steps) == depth]
        if part is not None and depth < 2:  # else the name itself says the folder
            parts = [folder_part(file, top) for file in places]
            elsewhere = [file for file, its in zip(places, parts, strict=True) if its not in (None, part)]
            places = [file for file, its in zip(places, parts, strict=True) if its == part] or [
                file for file, its in zip(places, parts, strict=True) if its is None
            ]
            if elsewhere and not places:
                return f"is not there, but in the folder of another part: {elsewhere[0]}"
        if not places and name and (picture := _file_at(path.parent.parent / name)):
            return picture
        if len(places) > 1:
            return f"is in {len(places)} places: {', '.join(str(file) for file in places[:3])}; say which one in file_name"
        return places[0] if places else "is not there"

    return find


def _file_at(path: Path) -> Path | None:
    """The file of that name as it lies, None where there is none, or where the system takes no name so long."""
    try:
        path = as_it_lies(path)
        return path if path.is_file() else None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return None


def _alike(file: Path, steps: tuple[str, ...]) -> int:
    """How many of the last steps of a (composed) name a file's way has too."""
    count = 0
    for mine, wanted in zip(reversed(file.parts), reversed(steps), strict=False):
        if composed(mine).lower() != wanted.lower():
            break
        count += 1
    return count
