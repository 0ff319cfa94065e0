"""The reader of annotations in COCO's JSON: one file for a set of images, whoever made it."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from repmet.data.readers.voc_annotation import ImageRecord, box_problem, check_image, raise_problems, tell_left_out

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def is_coco(path: Path) -> bool:
    """Whether a JSON file looks like COCO annotations: a mapping with `images`, `annotations` and `categories`."""
    try:
        with path.open(encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def read_coco(path: str | Path, images: str | Path | None = None) -> list[ImageRecord]:
    """The images of a COCO file with their objects, crowds as `difficult` ones; an image's id is its file name.

    Boxes are [x, y, width, height] in pixels from 0; one may stick out of its image by up to two pixels and is clipped.

    Args:
        path: the JSON file.
        images: the folder of the images; by default they are looked for beside the file and above it, as `file_name` says,
            and by their mere name in any folder below.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no COCO file, or what is wrong with its images and boxes, all in one message.
    """
    records, problems = _read(Path(path), Path(images) if images is not None else None)
    raise_problems(path, problems)
    return records


def coco_lists(root: str | Path, image_set: str | None) -> list[Path] | None:
    """The annotation files that an image set names in COCO's own tree, None where it names none there.

    The tree is the one that COCO is distributed in, a list is a folder of it, several are joined by a plus
    (`train2014+val2014`): annotations/instances_train2017.json, train2017/*.jpg.
    """
    parts = (image_set or "").split("+")
    files = [Path(root) / "annotations" / f"instances_{part}.json" for part in parts]
    return files if all(re.fullmatch(r"(train|val)20\d\d", part) for part in parts) and files[0].is_file() else None


def read_coco_tree(root: str | Path, image_set: str) -> list[ImageRecord]:
    """The images of one or more lists of COCO's own tree (`coco_lists`).

    Images that cannot be used (a box without area, a picture that is not there) are left out with one warning that counts
    them: the set is published and nobody can correct it.

    Raises:
        FileNotFoundError: no such list.
        ValueError: it is no COCO file, or no usable image.
    """
    root, records, left_out = Path(root), [], []
    for file in coco_lists(root, image_set) or [root / "annotations" / f"instances_{image_set}.json"]:
        own, problems = _read(file, root / file.stem.removeprefix("instances_"))
        left_out += problems
        for record in own:
            problem = check_image(record)
            if problem:
                left_out.append(problem)
            else:
                records.append(record)
    tell_left_out(left_out, records, f"{root}: no usable image in {image_set!r}")
    return records


def _read(path: Path, images: Path | None) -> tuple[list[ImageRecord], list[str]]:
    """The images of a file that are as they should be, and what is wrong with the others."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of annotations")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_outlines)
        names = {c["id"]: str(c["name"]).strip() for c in content["categories"]}
        listed = {i["id"]: i for i in content["images"]}
        by_image: dict[Any, list[dict]] = {i: [] for i in listed}
        entries = list(content["annotations"])
        twice = sorted(n for n, c in Counter(str(i["file_name"]) for i in content["images"]).items() if c > 1)
    except (ValueError, KeyError, TypeError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: not a COCO file of annotations: {reason}") from None
    problems = [f"image {name} is listed twice" for name in twice]
    if len(listed) < len(content["images"]) and not twice:
        problems.append("two images have the same id")
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or entry.get("image_id") not in by_image:
            problems.append(f"annotation {number} is of an image that is not listed")
        elif entry.get("category_id") not in names:
            problems.append(f"annotation {number}: there is no category {entry.get('category_id')!r}")
        else:
            by_image[entry["image_id"]].append(entry)
    find = _finder(path, images)
    records = []
    for image_id, image in listed.items():
        record, found = _record(image, by_image[image_id], names, find)
        problems += found
        records += [record] if record is not None else []
    return records, problems


def _without_outlines(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What of a JSON object is kept: the outlines of COCO's objects would take gigabytes, and only boxes are wanted."""
    return {key: value for key, value in pairs if key != "segmentation"}


def _record(image: Mapping, entries: list[Mapping], names: Mapping, find: Any) -> tuple[ImageRecord | None, list[str]]:
    file_name, width, height = str(image["file_name"]), image.get("width"), image.get("height")
    picture = find(file_name)
    if picture is None:
        return None, [f"image {file_name} is not there"]
    if not (isinstance(width, int | float) and isinstance(height, int | float) and min(width, height) >= 1):
        return None, [f"image {file_name} has no width and height"]
    labels, boxes, difficult, problems = [], [], [], []
    for entry in entries:
        box = entry.get("bbox")
        name = names[entry["category_id"]]
        who = f"image {file_name}, annotation {entry.get('id')} ({name})"
        if not isinstance(box, list) or len(box) != 4 or not all(_finite(side) for side in box):
            problems.append(f"{who}: bbox {box} is not [x, y, width, height]")
            continue
        corners = (box[0], box[1], box[0] + box[2], box[1] + box[3])
        if problem := box_problem(corners, width, height):
            problems.append(f"{who}: bbox {box} {problem}; correct or delete it")
            continue
        labels.append(name)
        boxes.append((max(corners[0], 0), max(corners[1], 0), min(corners[2], width), min(corners[3], height)))
        difficult.append(bool(entry.get("iscrowd", 0)))
    if problems:
        return None, problems
    record = ImageRecord(
        id=Path(file_name).with_suffix("").as_posix(),
        path=picture,
        width=int(width),
        height=int(height),
        names=tuple(labels),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        difficult=np.array(difficult, bool),
    )
    return record, []


def _finder(path: Path, images: Path | None) -> Any:
    """A function from a `file_name` to the picture, or None; the folders below are only walked where that is needed."""
    places = [images] if images is not None else [path.parent, path.parent / "images", path.parent.parent]
    below: dict[str, Path] = {}

    def find(name: str) -> Path | None:
        for place in places:
            if (place / name).is_file():
                return place / name
        if not below:
            # Annotations often lie in a folder of their own, beside those of the images.
            beside = path.parent.name.lower() in ("annotations", "labels")
            top = images or (path.parent.parent if beside else path.parent)
            below.update((p.name, p) for p in sorted(top.rglob("*.*")) if p.suffix.lower() in PICTURES)
            below.setdefault("", path)
        return below.get(Path(name).name)

    return find


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
