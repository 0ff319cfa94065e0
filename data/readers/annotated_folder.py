"""Anybody's annotated images, with nothing to register: a VOC devkit, a folder with VOC XML files, COCO's JSON, YOLO, or
CVAT's XML.

A VOC devkit (a folder with ImageSets) names its lists itself. COCO files, folders and YOLO's `data.yaml` may name parts
(train, val or valid, test), which are lists then. A folder without lists is dealt into `train` and `test` by the images'
ids: an image stays where it is when others come.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from repmet.data.files.names import composed
from repmet.data.files.walk import entries, say_once, subfolders
from repmet.data.readers.class_name import check_class_names
from repmet.data.readers.coco import coco_lists, coco_records, is_coco, json_content, read_coco_tree
from repmet.data.readers.cvat import cvat_file, read_cvat
from repmet.data.readers.devkit import devkit_years
from repmet.data.readers.image_ids import unique_ids
from repmet.data.readers.parts import chosen, dealt, part_of, roles
from repmet.data.readers.voc_annotation import ImageRecord, check_image, raise_problems
from repmet.data.readers.voc_folder import VOCFolder, read_voc_folder, voc_folder
from repmet.data.readers.yolo import read_yolo, read_yolo_folder, yolo_file
from repmet.data.sources.imagenet_loc import imagenet_root, read_imagenet_loc
from repmet.data.sources.voc import absent_classes, read_image_set
from repmet.errors import UserError
from repmet.wording import counted, quoted

_ANNOTATIONS = ("annotations", "annotation", "labels")  # folders of COCO files, beside those of parts


def is_devkit(root: str | Path) -> bool:
    """Whether a folder names its own lists as Pascal VOC does, itself or in the years below it."""
    root = Path(root)
    return (root / "ImageSets" / "Main").is_dir() or bool(devkit_years(root))


def is_annotated(root: str | Path) -> bool:
    """Whether `read_images` finds annotations there, whatever they say: a file, or a folder in one of the layouts."""
    root = Path(root)
    if root.is_file() or is_devkit(root) or imagenet_root(root) is not None:
        return True
    return root.is_dir() and bool(cvat_file(root) or _coco_files(root) or yolo_file(root) or voc_folder(root).annotations)


def names_lists(root: str | Path, image_set: str | None = None) -> bool:
    """Whether a folder brings lists of its own: a devkit, the tree of ImageNet-LOC, or COCO's with the list asked for."""
    return is_devkit(root) or imagenet_root(root) is not None or coco_lists(root, image_set) is not None


def read_images(root: str | Path, image_set: str = "all", *, classes: Sequence[str] | None = None) -> list[ImageRecord]:
    """The images of a list: as `read_image_set` where the folder is a devkit, else of a folder without lists.

    Their ids differ, also between the lists of one folder.

    Args:
        root: `annotations.xml` of CVAT or a folder with it, a devkit,
            the tree of ImageNet-LOC (`sources.imagenet_loc`) or of COCO (`coco_lists`), a folder that
            holds images and XML files (beside each other or in folders of their own), a folder with images and COCO files,
            a YOLO folder with its `data.yaml`, or such a file.
        image_set: a list of the devkit or tree; else `all`, the name of one of several COCO files, a part (`train` of
            instances_train.json or of train/_annotations.coco.json), or of a set without parts `train` and `test` as dealt
            here: three quarters of the images and the rest.
        classes: classes that must each have at least one object.

    Raises:
        FileNotFoundError: nothing annotated is there, or no such list.
        ValueError: what is wrong with images and annotations, all in one message.
    """
    root = Path(root)
    if is_devkit(root):
        return read_image_set(root, image_set, classes=classes)
    if imagenet_root(root) is not None:
        records = read_imagenet_loc(root, image_set, classes)
    elif coco_lists(root, image_set) is not None:
        records = read_coco_tree(root, image_set)
    else:
        records = _records(root, image_set)
        raise_problems(root, [problem for record in records if (problem := check_image(record))])
    if not records:
        raise UserError(f"{root}: no image falls to {image_set!r}; there are too few images to deal out")
    raise_problems(root, absent_classes(classes or (), records))
    check_class_names(class_names(records), root)
    return records


def list_names(root: str | Path) -> dict[str, str]:
    """What an own folder's lists are called, for the keys of an experiment's `data` section (`data.readers.parts.roles`)."""
    root = Path(root)
    if cvat_file(root) is not None:
        return roles([None])
    if files := _coco_files(root):
        return roles(part_of(*reversed(label.split("/"))) for label in _labels(files)) if len(files) > 1 else roles([None])
    if file := yolo_file(root):
        return roles(read_yolo_folder(file).parts)
    folder = voc_folder(root)
    return roles(folder.parts if folder.in_parts else [None])


def class_names(records: Sequence[ImageRecord]) -> list[str]:
    """The classes that occur, in alphabetical order."""
    return sorted({name for record in records for name in record.names})


def _records(root: Path, image_set: str) -> list[ImageRecord]:
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder or file of annotations")
    if (file := cvat_file(root)) is not None:
        return _of_list(read_cvat(file), root, image_set)
    files, folder = _coco_files(root), voc_folder(root)
    file = None if files else yolo_file(root)
    others = [xml for xml in folder.annotations if composed(xml.stem) in folder.images]
    if others and (taken := files[0] if files else file):
        number = counted(len(others), "XML file")
        say_once(f"{root}: annotated twice: {taken.name} is read, {number} passed over, the first: {others[0].name}")
    if files:
        return _read_coco_files(root, files, image_set)
    if file:
        return read_yolo(read_yolo_folder(file), image_set)
    if not folder.annotations:
        raise _nothing_annotated(root, folder)
    return read_voc_folder(folder, image_set)


def _coco_files(root: Path) -> list[Path]:
    """The COCO files of a folder, in it and in its folders of annotations and parts; or the file itself.

    Raises:
        ValueError: a JSON file there is damaged: what would be read without it is not what the folder holds.
    """
    if root.is_file():
        return [] if yolo_file(root) else [root]
    return [path for path in _json_files(root) if is_coco(path)]


def _json_files(root: Path) -> list[Path]:
    folders = [root, *(f for f in subfolders(root) if f.name.lower() in _ANNOTATIONS or part_of(f.name))]
    return [p for folder in folders for p in entries(folder) if p.suffix.lower() == ".json" and p.is_file()]


def strange_json(root: Path) -> str:
    """What is said of the JSON files of a folder in which nothing annotated is found; nothing where there are none."""
    files = _json_files(root)
    if not files:
        return ""
    content = json_content(files[0])
    labelme = isinstance(content, dict) and "shapes" in content
    lacks = sorted({"images", "annotations", "categories"} - (content.keys() if isinstance(content, dict) else set()))
    what = "in LabelMe's layout, which is not read: export it as COCO or VOC" if labelme else f"not COCO's: no {lacks[0]}"
    return f"; {files[0].name} is {what}"


def _labels(files: Sequence[Path]) -> list[str]:
    """What the COCO files are called: by their own names, by those of their folders where the first are all one."""
    stems = [file.stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    folders = [file.parent.name for file in files]
    return folders if len(set(folders)) == len(folders) else [f"{file.parent.name}/{file.stem}" for file in files]


def _read_coco_files(root: Path, files: Sequence[Path], image_set: str) -> list[ImageRecord]:
    """The images of one or all of the files. All are read, since ids must differ between them."""
    parts = len(files) > 1
    wanted = chosen(_labels(files), image_set, root, "COCO files") if parts else [0]
    read = [coco_records(file) for file in files]
    raise_problems(root if parts else files[0], [problem for k in wanted for problem in read[k][1]])
    base = root if root.is_dir() else root.parent
    stems = {record.path: record.id for records, _ in reversed(read) for record in records}
    ids = dict(zip(stems, unique_ids(list(stems.values()), list(stems), base), strict=True))
    named = [[replace(record, id=ids[record.path]) for record in records] for records, _ in read]
    owners: dict[str, int] = {}
    twice = [(r.id, k) for k in wanted for r in named[k] if owners.setdefault(r.id, k) != k]
    if twice:
        (first, k), images = twice[0], counted(len(twice), "image")
        both = " and in ".join(files[n].relative_to(base).as_posix() for n in (owners[first], k))
        raise UserError(f"{root}: {images} in two COCO files, the first: {quoted(first)}, in {both}")
    records = [record for k in wanted for record in named[k]]
    return records if parts else _of_list(records, root, image_set)


def _of_list(records: list[ImageRecord], root: Path, image_set: str) -> list[ImageRecord]:
    """Of a set that names no parts: all of it, or what is dealt to `train` or `test`."""
    if image_set == "all":
        return records
    if image_set not in ("train", "test"):
        raise FileNotFoundError(f"{root}: a folder without lists has all, train and test, not {image_set!r}")
    return [record for record in records if dealt(record.id, image_set)]


def _nothing_annotated(root: Path, folder: VOCFolder) -> FileNotFoundError:
    images = sum(map(len, folder.images.values()))
    return FileNotFoundError(
        f"{root}: nothing annotated is there: neither VOC XML files, nor a JSON file in COCO's layout, nor YOLO's data.yaml "
        f"({counted(images, 'image')} found{strange_json(root)})"
    )
