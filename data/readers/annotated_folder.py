"""Anybody's annotated images, with nothing to register: a VOC devkit, a folder with VOC XML files, or COCO's JSON.

A VOC devkit (a folder with ImageSets) names its lists itself. A folder without lists is dealt into `train` and `test` by the
images' ids: an image stays where it is when others come. COCO files of several parts (`instances_train.json`) are its lists.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from repmet.data.readers.coco import PICTURES, coco_lists, is_coco, read_coco, read_coco_tree
from repmet.data.readers.voc_annotation import ImageRecord, check_image, raise_problems, read_annotation
from repmet.data.sources.imagenet_loc import imagenet_root, read_imagenet_loc
from repmet.data.sources.voc import absent_classes, read_image_set

TEST_SHARE = 0.25  # of a folder that names no lists


def is_devkit(root: str | Path) -> bool:
    """Whether a folder names its own lists as Pascal VOC does, itself or in the years below it."""
    root = Path(root)
    return (root / "ImageSets" / "Main").is_dir() or any([*root.glob("VOC[12]*"), *root.glob("VOCdevkit/VOC[12]*")])


def names_lists(root: str | Path, image_set: str | None = None) -> bool:
    """Whether a folder brings lists of its own: a devkit, the tree of ImageNet-LOC, or COCO's with the list asked for."""
    return is_devkit(root) or imagenet_root(root) is not None or coco_lists(root, image_set) is not None


def read_images(root: str | Path, image_set: str = "all", *, classes: Sequence[str] | None = None) -> list[ImageRecord]:
    """The images of a list: as `read_image_set` where the folder is a devkit, else of a folder without lists.

    Args:
        root: a devkit, the tree of ImageNet-LOC (`sources.imagenet_loc`) or of COCO (`coco_lists`), a folder that
            holds images and XML files (beside each other or in folders of their own), a folder with images and COCO files,
            or such a file.
        image_set: a list of the devkit or tree; else `all`, the name of one of several COCO files or a part of it (`train`
            of `instances_train.json`), or `train` and `test` as dealt here: three quarters of the images and the rest.
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
    if not records:
        raise ValueError(f"{root}: no image falls to {image_set!r}; there are too few images to deal out")
    raise_problems(root, absent_classes(classes or (), records))
    return records


def list_names(root: str | Path) -> dict[str, str]:
    """What an own folder's lists are called, for the keys of an experiment's `data` section.

    With COCO files named for their parts supports come from `train` and queries from `test` (or `val`); a folder without
    lists gives all its images to both: an episode never asks for an image that gives it a support.
    """
    files = _coco_files(Path(root))
    found = {part: part for part in ("train", "test", "val") if any(part in f.stem.lower() for f in files)}
    if len(files) > 1 and "train" in found and len(found) > 1:
        test = found.get("test") or found["val"]
        return {"train": "train", "base_test": test, "support": "train", "query": test}
    return {"train": "train", "base_test": "test", "support": "all", "query": "all"}


def class_names(records: Sequence[ImageRecord]) -> list[str]:
    """The classes that occur, in alphabetical order."""
    return sorted({name for record in records for name in record.names})


def _records(root: Path, image_set: str) -> list[ImageRecord]:
    files = _coco_files(root)
    if len(files) > 1:
        named = [f for f in files if image_set == f.stem] or [f for f in files if image_set in f.stem.lower()]
        if image_set != "all" and len(named) != 1:
            stems = ", ".join(f.stem for f in files)
            raise FileNotFoundError(f"{root}: {image_set!r} is not one of its COCO files: {stems}")
        records = [r for f in (files if image_set == "all" else named) for r in read_coco(f)]
        seen: set[str] = set()
        twice = sorted({r.id for r in records if r.id in seen or seen.add(r.id)})
        if twice:
            raise ValueError(f"{root}: {len(twice)} image(s) are in two COCO files, the first is {twice[0]!r}")
        return _checked(root, records)
    records = read_coco(files[0]) if files else _read_xml(root)
    if image_set in ("train", "test"):
        records = [r for r in records if (_share(r.id) < TEST_SHARE) == (image_set == "test")]
    elif image_set != "all":
        raise FileNotFoundError(f"{root}: a folder without lists has all, train and test, not {image_set!r}")
    return _checked(root, records)


def _coco_files(root: Path) -> list[Path]:
    """The COCO files of a folder, or the file itself."""
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder or file of annotations")
    return sorted(p for p in [*root.glob("*.json"), *root.glob("annotations/*.json")] if is_coco(p))


def _read_xml(root: Path) -> list[ImageRecord]:
    pictures: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.*")):
        if path.suffix.lower() in PICTURES:
            pictures.setdefault(path.stem, []).append(path)
    records, problems, seen = [], [], set()
    annotations = sorted(root.rglob("*.xml"))
    if not annotations:
        raise FileNotFoundError(
            f"{root}: nothing annotated is there: neither VOC XML files, nor a JSON file in COCO's layout "
            f"({len(pictures)} images found)"
        )
    for xml in annotations:
        mine = pictures.get(xml.stem, [])
        beside = [p for p in mine if p.parent == xml.parent] or mine
        if xml.stem in seen:
            problems.append(f"{xml}: another annotation has the name {xml.stem}; names tell images apart")
        elif len(beside) != 1:
            what = "no image of that name" if not beside else f"{len(beside)} images of that name"
            problems.append(f"{xml}: there is {what} below {root}")
        else:
            record, found = read_annotation(xml, beside[0])
            problems += found
            records += [record] if record is not None else []
        seen.add(xml.stem)
    raise_problems(root, problems)
    return records


def _checked(root: Path, records: list[ImageRecord]) -> list[ImageRecord]:
    raise_problems(root, [problem for record in records if (problem := check_image(record))])
    return records


def _share(image_id: str) -> float:
    """A number in [0, 1) for an id, by SHA-256: the same on every machine."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") / 2**64
