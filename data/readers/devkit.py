"""The reader of folders in Pascal VOC's layout: JPEGImages, Annotations and ImageSets/Main, whoever made them.

Training and episodes both read here, VOC itself, generated scenes and anybody's own data alike. Everything is checked on
reading, before time is spent: all problems of an image set come in one error.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from repmet.data.files.names import as_it_lies, composed
from repmet.data.files.pictures import is_image_file
from repmet.data.files.text import lines_of
from repmet.data.files.walk import entries, files_below
from repmet.data.readers.voc_annotation import ImageRecord, check_image, raise_problems, read_annotation
from repmet.errors import UserError, did_you_mean
from repmet.wording import counted, quoted

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CLASS_LISTS = Path(__file__).parents[1] / "classes"
_SHOWN = 10


def read_image_set(
    root: str | Path, image_set: str, *, classes: Sequence[str] | None = None, decode: bool = False
) -> list[ImageRecord]:
    """All images of an image set, in the list's order, with their objects of every class, difficult ones too.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets/Main; or a VOCdevkit, or the folder above it,
            with VOC2007, VOC2012 and so on below.
        image_set: a list in ImageSets/Main (`train`), for years of a VOCdevkit with the year before it
            (`2007_trainval`); several are joined by a plus (`2007_trainval+2012_trainval`).
        classes: classes that must each have at least one object. Objects of other classes are kept all the same: who
            trains must see that an image holds a class to be left out.
        decode: decode every picture instead of looking at its header and end only (slow).

    Raises:
        FileNotFoundError: no such folder or image set; the message names those there are.
        ValueError: a list that names an image twice or none, a missing or broken picture or annotation, a box outside
            its image (by up to 2 pixels it is clipped) or without area, a class without objects. All in one message.
    """
    root = Path(root)
    records: list[ImageRecord] = []
    problems: list[str] = []
    years = devkit_years(root)
    for part in image_set.split("+"):
        folder, name = _resolve(root, part.strip())
        pictures = _pictures(folder)
        # Of several years, which are read one by one, an image has the year in its id where another has its name too.
        shared = {stem for year in years.values() if year != folder for stem in _pictures(year)} if len(years) > 1 else set()
        for image_id in _image_ids(folder, name, pictures):
            record, wrong = _read(folder, name, image_id, pictures.get(image_id, []), shared, decode)
            problems += wrong
            records += [record] if record is not None else []
    if not problems and classes is not None:
        problems += absent_classes(classes, records)
    raise_problems(f"{root}, image set {image_set}", problems)
    return records


def _read(
    folder: Path, name: str, image_id: str, pictures: Sequence[Path], shared: Collection[str], decode: bool
) -> tuple[ImageRecord | None, list[str]]:
    """One image of a list, and what is wrong with it."""
    xml_path = as_it_lies(folder / "Annotations" / f"{image_id}.xml")
    if not xml_path.is_file():
        others = (xml_path.with_suffix(suffix) for suffix in (".XML", ".Xml"))
        xml_path = next((other for other in others if other.is_file()), xml_path)
    if not pictures:
        missing = folder / "JPEGImages" / f"{image_id}.jpg"
        return None, [f"{missing}: the image is missing; add it, or take {image_id} off the list {name}"]
    if len(pictures) > 1:
        named = ", ".join(path.name for path in pictures)
        return None, [f"{folder / 'JPEGImages'}: {image_id} is several images: {named}; take away all but one"]
    record, problems = read_annotation(
        xml_path, pictures[0], f"{folder.name}/{image_id}" if image_id in shared else image_id
    )
    if record is not None and (problem := check_image(record, decode=decode)):
        problems = [problem]
    return record, problems


def _pictures(folder: Path) -> dict[str, list[Path]]:
    """The images of a devkit by their ids, the names without suffix, those in folders with the folder."""
    pictures: dict[str, list[Path]] = {}
    place = folder / "JPEGImages"
    for path in files_below(place) if place.is_dir() else ():
        if is_image_file(path):
            pictures.setdefault(composed(path.relative_to(place).with_suffix("").as_posix()), []).append(path)
    return pictures


def read_class_list(source: str | Path | Sequence[str], root: str | Path | None = None) -> tuple[str, ...]:
    """Class names from a sequence, or from a text file with one a line.

    A file is looked for as it is named, then under `root`, then among the lists of this package (`data/classes`, for
    instance `voc_novel_1.txt`). Raises FileNotFoundError, and ValueError for a name that is there twice or is no name.
    """
    if isinstance(source, str | Path):
        places = [Path(source), *([Path(root) / source] if root is not None else []), CLASS_LISTS / source]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"no class list {source}; looked for {', '.join(map(str, places))}")
        names = tuple(map(composed, lines_of(path)))
        if not names:
            raise UserError(f"{path}: the class list is empty; write one class name a line")
        source = path
    else:
        names = tuple(composed(name) if isinstance(name, str) else name for name in source)
    if wrong := [name for name in names if not isinstance(name, str) or not name]:
        raise UserError(f"class list: {wrong[0]!r} is no class name (quote names that YAML takes for something else)")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"class list {source}: named twice: {', '.join(twice)}")
    return names


def _resolve(root: Path, image_set: str) -> tuple[Path, str]:
    """The devkit folder and the list's name in it, for one part of an image set's name."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; it should hold JPEGImages, Annotations and ImageSets")
    dated = re.fullmatch(r"((?:19|20)\d\d)_(\w+)", image_set)
    if (root / "ImageSets" / "Main").is_dir():
        folder, name = root, image_set
        if dated and not _list_file(root, image_set).is_file() and root.name == f"VOC{dated[1]}":
            name = dated[2]
    else:
        years = devkit_years(root)
        if not years:
            raise FileNotFoundError(f"{root}: holds neither ImageSets/Main nor a VOCdevkit (VOC2007, VOC2012); check it")
        if dated is None or dated[1] not in years:
            raise FileNotFoundError(
                f"{root}: image set {image_set!r} should name the year and the list, as in {min(years)}_trainval; "
                f"years there: {', '.join(years)}"
            )
        folder, name = years[dated[1]], dated[2]
    if not _list_file(folder, name).is_file():
        lists = list_files(folder)
        # VOC's own lists of single classes (cat_train) are left out: they hold two columns and mean something else.
        there = [n for n in lists if n.rpartition("_")[0] not in VOC_CLASSES]
        raise FileNotFoundError(f"{folder}: no image set {name!r}; there are: {', '.join(there) or 'none'}")
    return folder, name


def devkit_years(root: Path) -> dict[str, Path]:
    """The years of a VOCdevkit, itself or below; of a devkit of one year none."""
    if (root / "ImageSets" / "Main").is_dir():
        return {}
    folders = sorted([*root.glob("VOC[12]*"), *root.glob("VOCdevkit/VOC[12]*")])
    return {path.name[3:]: path for path in folders if path.is_dir()}


def list_files(folder: Path) -> list[str]:
    """The names of all lists of a devkit, those of single classes too."""
    place = folder / "ImageSets" / "Main"
    return [path.stem for path in (entries(place) if place.is_dir() else ()) if path.suffix.lower() == ".txt"]


def _list_file(folder: Path, name: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{name}.txt"


def _image_ids(folder: Path, name: str, pictures: Mapping[str, Sequence[Path]]) -> list[str]:
    """The ids of a list; a line may also be an image's whole name, and hold spaces."""
    path = _list_file(folder, name)
    ids = [composed(line) for line in lines_of(path)]
    if not ids:
        raise UserError(f"{path}: the list is empty; write one image id a line")
    columns = [line for line in ids if line not in pictures and re.fullmatch(r".*\S\s+(-1|0|1)", line)]
    if columns:
        raise UserError(f"{path}: {quoted(columns[0])} is not one image id; lists of single classes are no image sets")
    by_name = {composed(f"{stem}{image.suffix}"): stem for stem, images in pictures.items() for image in images}
    ids = [line if line in pictures else by_name.get(line, line) for line in ids]
    if len(set(ids)) < len(ids):
        twice = sorted(image_id for image_id, count in Counter(ids).items() if count > 1)
        raise UserError(f"{path}: lists {counted(len(twice), 'image')} more than once: {', '.join(twice[:_SHOWN])}")
    return ids


def absent_classes(classes: Sequence[str], records: Sequence[ImageRecord]) -> list[str]:
    """One sentence for each class that no record holds, with the name that may have been meant."""
    there = sorted({name for record in records for name in record.names})
    problems = []
    for name in classes:
        if name not in there:
            problems.append(f"class {name!r}: no annotation has it; {did_you_mean(name, there)}")
    return problems
