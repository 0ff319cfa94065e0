"""The reader of annotations in COCO's JSON: one file for a set of images, whoever made it."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from repmet.data.files.names import composed
from repmet.data.files.walk import say_once
from repmet.data.readers.coco_pictures import picture_finder
from repmet.data.readers.image_ids import unique_ids
from repmet.data.readers.voc_annotation import (
    ImageRecord,
    box_problem,
    check_image,
    raise_problems,
    shares_problem,
    tell_left_out,
    yes_or_no,
)
from repmet.errors import UserError
from repmet.wording import counted, quoted, shortened


def is_coco(path: Path) -> bool:
    """Whether a JSON file looks like COCO annotations: a mapping with `images`, `annotations` and `categories`.

    Raises:
        ValueError: it is damaged, so that nobody can tell.
    """
    content = json_content(path)
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def json_content(path: Path) -> Any:
    """What a JSON file holds, without the outlines of objects.

    Raises:
        ValueError: it is damaged, or no JSON; the message names it.
    """
    data = path.read_bytes()
    try:
        return json.loads(data, object_pairs_hook=_without_outlines)
    except RecursionError:
        reason = "it is nested too deeply"
    except UnicodeDecodeError:
        reason = "it is no text"
    except ValueError as error:
        reason = str(error) if data.strip() else "it is empty"
    if data.startswith(b"PK"):
        reason = "it is a zip archive: unpack it"
    raise UserError(f"{path}: damaged, or no JSON ({reason}); export or fetch it again, or take it away")


def read_coco(path: str | Path, images: str | Path | None = None) -> list[ImageRecord]:
    """The images of a COCO file with their objects, crowds as `difficult` ones.

    An image's id is its file name without the suffix; of two that differ in the suffix alone, with it. Boxes are [x, y,
    width, height] in pixels from 0; one may stick out of its image by up to two pixels and is clipped.

    Args:
        path: the JSON file.
        images: the folder of the images; by default `data.readers.coco_pictures` looks for them around the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no COCO file, or what is wrong with its images and boxes, all in one message.
    """
    path = Path(path)
    records, problems = coco_records(path, Path(images) if images is not None else None)
    raise_problems(path, problems)
    ids = unique_ids([r.id for r in records], [r.path for r in records], path.parent)
    return [replace(record, id=image_id) for record, image_id in zip(records, ids, strict=True)]


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
        listed, problems = coco_records(file, root / file.stem.removeprefix("instances_"))
        left_out += problems
        for record in listed:
            problem = check_image(record)
            if problem:
                left_out.append(problem)
            else:
                records.append(record)
    tell_left_out(left_out, records, f"{root}: no usable image in {image_set!r}")
    return records


def coco_records(path: Path, images: Path | None = None) -> tuple[list[ImageRecord], list[str]]:
    """The images of a file that are as they should be, with ids that may not be unique yet; what is wrong with the others.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no COCO file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of annotations")
    content = json_content(path)
    try:
        if not isinstance(content, dict):
            raise UserError(f"it holds a {type(content).__name__}, not a mapping with images, annotations and categories")
        _check_lists(content)
        names = {c["id"]: composed(str(c["name"]).strip()) for c in content["categories"]}
        if len(names) < len(content["categories"]):
            raise UserError(f"two categories have the id {shortened(repr(_twice(content['categories'])))}")
        listed = {i["id"]: i for i in content["images"]}
        by_image: dict[Any, list[dict]] = {i: [] for i in listed}
        entries = list(content["annotations"])
        file_names = Counter(str(i["file_name"]).strip() for i in content["images"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a COCO file of annotations: {error}") from None
    problems = [f"image {quoted(name)} is listed twice" for name, count in sorted(file_names.items()) if count > 1]
    if len(listed) < len(content["images"]) and not problems:
        problems.append(f"two images have the id {shortened(repr(_twice(content['images'])))}")
    problems += [f"category {i} has no name" for i, name in names.items() if not name]
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not _is_key(entry.get("image_id"), by_image):
            problems.append(f"{_who(number, entry)} is of an image that is not listed")
        elif not _is_key(entry.get("category_id"), names):
            problems.append(f"{_who(number, entry)}: there is no category {shortened(repr(entry.get('category_id')))}")
        else:
            by_image[entry["image_id"]].append(entry)
    _tell_shared_ids(path, entries)
    find = picture_finder(path, images)
    records: list[ImageRecord] = []
    taken: dict[Path, str] = {}
    for image_id, image in listed.items():
        record, wrong = _record(image, by_image[image_id], names, find)
        if record is not None and (other := taken.setdefault(record.path, image["file_name"])) != image["file_name"]:
            wrong = [f"images {quoted(other)} and {quoted(image['file_name'])} are the same file, {record.path}"]
            record = None
        problems += wrong
        records += [record] if record is not None else []
    return records, problems


_NEEDED = {"images": ("id", "file_name"), "annotations": (), "categories": ("id", "name")}


def _check_lists(content: Mapping) -> None:
    """Raises ValueError for the first part of a file that is no list of mappings with what each of them needs."""
    for part, needed in _NEEDED.items():
        if part not in content:
            raise UserError(f"there is no {part!r}")
        if not isinstance(content[part], list):
            raise UserError(f"{part!r} is no list")
        for number, entry in enumerate(content[part]):
            if needed and not isinstance(entry, Mapping):
                raise UserError(f"{part} {number} is no mapping, but {entry!r:.40}")
            if lacking := [key for key in needed if entry.get(key) is None]:
                raise UserError(f"{part} {number} has no {lacking[0]!r}")


def _tell_shared_ids(path: Path, entries: Sequence) -> None:
    """Says that annotations have the id of another one, as in files that were put together: each is read, a copy too."""
    ids = [repr(entry["id"]) for entry in entries if isinstance(entry, Mapping) and "id" in entry]
    if shared := [i for i, count in Counter(ids).items() if count > 1]:
        more, first = counted(len(ids) - len(set(ids)), "annotation"), shortened(shared[0])
        say_once(f"{path}: {more} with the id of another one, the first: {first}; all are read")


def _without_outlines(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What of a JSON object is kept: the outlines of COCO's objects would take gigabytes, and only boxes are wanted."""
    return {key: value for key, value in pairs if key != "segmentation"}


def _record(
    image: Mapping, entries: list[Mapping], names: Mapping, find: Callable[[str], Path | str]
) -> tuple[ImageRecord | None, list[str]]:
    file_name, width, height = str(image["file_name"]).strip(), image.get("width"), image.get("height")
    who = f"image {quoted(file_name)}"
    picture = find(file_name)
    if isinstance(picture, str):
        return None, [f"{who} {picture}"]
    if not (_finite(width) and _finite(height) and min(width, height) >= 1 and width % 1 == height % 1 == 0):
        return None, [f"{who} has no width and height in pixels"]
    labels, boxes, difficult, problems = [], [], [], []
    for entry in entries:
        box = entry.get("bbox")
        name = names[entry["category_id"]]
        which = f"{who}, annotation {shortened(entry.get('id'))} ({shortened(name)})"
        if not isinstance(box, list) or len(box) != 4 or not all(_finite(side) for side in box):
            problems.append(f"{which}: bbox {shortened(box)} is not [x, y, width, height]")
            continue
        corners = (box[0], box[1], box[0] + box[2], box[1] + box[3])
        crowd = yes_or_no(entry.get("iscrowd"))
        if problem := shares_problem(box, width, height) or box_problem(corners, width, height):
            problems.append(f"{which}: bbox {shortened(box)} {problem}; correct or delete it")
        elif crowd is None:
            problems.append(f"{which}: iscrowd {shortened(repr(entry['iscrowd']))} is neither 0 nor 1")
        else:
            labels.append(name)
            boxes.append((max(corners[0], 0), max(corners[1], 0), min(corners[2], width), min(corners[3], height)))
            difficult.append(crowd)
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


def _who(number: int, entry: object) -> str:
    """An annotation as a person looks for it: by its id, else by its place in the file, counted from 1."""
    number_of = entry.get("id") if isinstance(entry, Mapping) else None
    return f"annotation {shortened(number_of)}" if number_of is not None else f"annotation number {number + 1}"


def _twice(entries: Sequence[Mapping]) -> Any:
    """The first id that two entries have."""
    return next(key for key, count in Counter(entry["id"] for entry in entries).items() if count > 1)


def _is_key(value: Any, mapping: Mapping) -> bool:
    """Whether a value of any type is an id that is there."""
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value in mapping


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
