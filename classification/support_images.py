"""The images that show the classes: a folder of class folders, a CSV of labels, or `{class: images}`."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repmet.data.files.names import as_it_lies, composed
from repmet.data.files.pictures import IMAGE_SUFFIXES, is_image_file
from repmet.data.files.text import read_text
from repmet.data.files.walk import files_below, say_once, tell_passed_over
from repmet.data.readers.class_folders import class_folders
from repmet.data.readers.class_name import check_class_names
from repmet.data.readers.image_inputs import ImageInput, image_inputs
from repmet.errors import UserError, one_line
from repmet.wording import counted


def read_support_images(support: str | Path | Mapping[str, Any]) -> dict[str, list[ImageInput]]:
    """The images of each class, classes in alphabetical order; nothing is decoded yet.

    Args:
        support: a folder with a folder of images for each class; a CSV file with a header and the columns `image` (a path,
            relative to the file, or an address) and `class`; or {class: images}, as `image_inputs` takes them.

    Raises:
        FileNotFoundError: no such folder or file, or an image that is not there.
        TypeError: in a mapping, something that is no image.
        ValueError: no class, a class without an image, a CSV file without the columns.
    """
    if isinstance(support, Mapping):
        by_class = _of_mapping(support)
        if not by_class:
            raise UserError("there is no class to learn: the mapping {class: images} is empty")
    elif Path(support).expanduser().is_dir():
        by_class = _of_folder(Path(support).expanduser())
    elif Path(support).suffix.lower() == ".csv":
        by_class = _of_csv(Path(support).expanduser())
    elif Path(support).is_file():
        raise UserError(f"{support}: a support is a folder of class folders or a CSV file with the columns image and class")
    else:
        raise FileNotFoundError(f"{support}: no such folder; it should hold one folder of images a class")
    check_class_names(by_class)
    where = "the supports" if isinstance(support, Mapping) else support
    return _each_once({name: by_class[name] for name in sorted(by_class)}, where)


def _each_once(by_class: Mapping[str, list[ImageInput]], where: object) -> dict[str, list[ImageInput]]:
    """Without images that come again in their class, as in lists that were put together; one line counts them."""
    kept: dict[str, list[ImageInput]] = {}
    doubled: list[str] = []
    for name, images in by_class.items():
        first: dict[Any, ImageInput] = {}
        for image in images:
            source = image.source.absolute() if isinstance(image.source, Path) else image.source
            key = source if isinstance(source, Path | str) else id(source)
            if first.setdefault(key, image) is not image:
                doubled.append(f"{image.name} of {name}")
        kept[name] = list(first.values())
    if doubled:
        images = "1 image comes" if len(doubled) == 1 else f"{counted(len(doubled), 'image')} come"
        say_once(f"{where}: {images} twice in a class, the first: {doubled[0]}; each counts once")
    return kept


def check_single_labels(by_class: Mapping[str, list[ImageInput]]) -> None:
    """Raises ValueError where a file or an address is an image of two classes."""
    label_of: dict[Any, str] = {}
    for name, images in by_class.items():
        for image in images:
            if not isinstance(image.source, Path | str):
                continue
            other = label_of.setdefault(image.source, name)
            if other != name:
                raise UserError(
                    f"{image.name}: is said to be of {other} and of {name}; where an image may be of several classes, "
                    "say --several, learn(..., several=True)"
                )


def _of_mapping(support: Mapping[str, Any]) -> dict[str, list[ImageInput]]:
    by_class = {}
    for name, images in support.items():
        try:
            by_class[str(name)] = list(image_inputs(images))
        except (UserError, OSError, TypeError) as error:
            raise type(error)(f"class {name!r}: {error}") from None
    return by_class


def _of_folder(root: Path) -> dict[str, list[ImageInput]]:
    folders = class_folders(root)
    if not folders:
        raise UserError(f"{root}: holds no class folders; it should hold one folder of images a class")
    by_class = {}
    for name, folder in folders.items():
        below = files_below(folder)
        files = [p for p in below if is_image_file(p)]
        tell_passed_over(folder, set(below) - set(files))
        if not files:
            raise UserError(f"{folder}: the class folder holds no image ({', '.join(IMAGE_SUFFIXES)})")
        by_class[name] = image_inputs(files)
    return by_class


def _of_csv(path: Path) -> dict[str, list[ImageInput]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of labels")
    by_class: dict[str, list[ImageInput]] = {}
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        columns = list(rows.fieldnames or ())
        if columns.count("image") != 1 or columns.count("class") != 1:
            raise UserError(f"{path}: its first line names the columns image and class, each once, not {', '.join(columns)}")
        for row in rows:
            image, name = (row["image"] or "").strip(), composed((row["class"] or "").strip())
            if not image or not name:
                raise UserError(f"{path}: line {rows.line_num} lacks an image or a class")
            address = image.startswith(("http://", "https://"))
            try:
                inputs = image_inputs([image if address else as_it_lies(path.parent / image)])
            except (UserError, OSError) as error:
                raise type(error)(f"{path}: line {rows.line_num}: {one_line(error)}") from None
            by_class.setdefault(name, []).extend(inputs)
    except csv.Error as error:
        raise UserError(f"{path}: line {rows.line_num + 1} is no line of a CSV file ({error})") from None
    if not by_class:
        raise UserError(f"{path}: holds no line of an image and its class")
    return by_class
