"""Folders that are classes: root/daisy/001.jpg, root/tulip/a.png. A mistaken level of a set's folders is refused."""

import re
from pathlib import Path

from repmet.data.files.names import composed
from repmet.data.files.pictures import is_image_file
from repmet.data.files.walk import entries, say_once, subfolders
from repmet.data.readers.class_name import check_class_names
from repmet.data.readers.parts import PART_NAMES
from repmet.errors import UserError
from repmet.wording import counted

# What folders of annotated sets are called, without the numbers behind (train2017), and those that `repmet detect` writes.
_OF_SETS = {
    *PART_NAMES, "trainval", "images", "image", "imgs", "img", "jpegimages", "annotations", "annotation", "labels",
    "imagesets", "pictures", "videos",
}  # fmt: skip


def class_folders(root: str | Path) -> dict[str, Path]:
    """By their names, the classes' folders in a folder. Images that lie beside them are passed over and said.

    Raises:
        ValueError: they are the folders of a set's images, annotations or parts; a name that no class may have.
    """
    root = Path(root)
    folders = {composed(folder.name): folder for folder in subfolders(root)}
    if folders and all(re.sub(r"[\d_-]+$", "", name.lower()) in _OF_SETS for name in folders):
        raise UserError(
            f"{root}: {', '.join(folders)}: so folders of a set's images, annotations or parts are called, and no classes. "
            "Name the folder that holds a folder for each class; or, of marked objects, put their annotations beside them"
        )
    check_class_names(folders, root)
    loose = [path for path in entries(root) if is_image_file(path) and path.is_file()] if folders else []
    if loose:
        images = counted(len(loose), "image")
        say_once(f"{root}: passed over, of no class: {images} beside the class folders, the first: {loose[0].name}")
    return folders
