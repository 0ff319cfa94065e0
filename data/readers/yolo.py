"""The reader of YOLO folders: a `data.yaml` with classes and parts, images, and a text file of labels for each image.

    data.yaml           names: [nut, bolt]    train: images/train    val: images/val    (folders, lists, or .txt files)
    images/train/a.jpg  labels/train/a.txt    class x y w h, or class x y x y x y ..., in shares of the image

What a label says is read by the library `supervision`, which knows boxes, polygons and trailing confidences; which files are
meant is decided here, so that all problems come in one message and every layout has the same ids and parts.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from repmet.data.files.names import as_it_lies, composed
from repmet.data.files.pictures import UnreadableImage, image_size, is_image_file
from repmet.data.files.text import lines_of, read_text
from repmet.data.files.walk import entries, files_below, say_once
from repmet.data.readers.image_ids import unique_ids
from repmet.data.readers.parts import chosen, dealt, part_of
from repmet.data.readers.voc_annotation import ImageRecord, box_problem, raise_problems
from repmet.errors import UserError
from repmet.wording import quoted, shortened

_NO_LABELS = ("classes.txt", "obj.names", "readme.txt", "readme.roboflow.txt", "readme.dataset.txt")


@dataclass(frozen=True)
class YOLOFolder:
    """What a `data.yaml` says: class names by number, the images of each part that is there, numbers behind a box."""

    file: Path
    names: Mapping[int, str]
    parts: Mapping[str, tuple[Path, ...]]
    key_point_values: int


def yolo_file(root: Path) -> Path | None:
    """The `data.yaml` of a folder, or the file itself; None where there is none.

    Raises:
        ValueError: several are there, or it is no YAML.
    """
    if root.is_file():
        return root if root.suffix.lower() in (".yaml", ".yml") else None
    if not root.is_dir():
        return None
    files = [p for p in entries(root) if p.suffix.lower() in (".yaml", ".yml") and p.is_file()]
    named = [p for p in files if p.stem.lower() == "data"] or [p for p in files if _is_description(p)]
    if len(named) > 1:
        raise UserError(f"{root}: {len(named)} YAML files describe YOLO data: {', '.join(p.name for p in named)}; name one")
    return named[0] if named else None


def read_yolo_folder(file: Path) -> YOLOFolder:
    """Reads a `data.yaml` and finds its images; labels are not looked at yet.

    Raises:
        FileNotFoundError: none of its folders is there, or they hold no image.
        ValueError: it does not say what it should.
    """
    content = _content(file)
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(str(number).strip().isdigit() for number in names):
        raise UserError(f"{file}: `names` is a list of classes, or a mapping from their numbers, not {shortened(names)}")
    counts = {str(len(names)), str(1 + max(int(str(number)) for number in names))}  # numbers may leave gaps
    if (count := str(content.get("nc", len(names))).strip()) not in counts:
        raise UserError(f"{file}: `nc` says {count} classes and `names` has {len(names)}; one of the two is wrong")
    if wrong := [
        name for name in names.values() if isinstance(name, bool) or not str(name if name is not None else "").strip()
    ]:
        raise UserError(f"{file}: {wrong[0]!r} in `names` is no class name (quote names that YAML takes for something else)")
    parts: dict[str, tuple[Path, ...]] = {}
    missing = []
    for key, value in content.items():
        part = part_of(str(key))
        if part is None or value in (None, "", []):
            continue
        images: list[Path] = []
        for item in value if isinstance(value, list) else [value]:
            place = _place(file, content.get("path"), str(item))
            images += _images(place) if place is not None else []
            missing += [] if place is not None else [str(item)]
        if images:
            parts[part] = tuple(dict.fromkeys(images))
    if not parts:
        raise FileNotFoundError(
            f"{file}: none of its folders holds an image ({', '.join(missing) or 'no train, val or test'})"
        )
    if missing:
        say_once(f"{file}: {len(missing)} of its folders are not there and are passed over: {', '.join(missing)}")
    shape = content.get("kpt_shape")
    values = int(np.prod(shape)) if isinstance(shape, list) and all(isinstance(n, int) for n in shape) else 0
    classes = {int(str(k)): composed(str(v).strip()) for k, v in names.items()}
    if twice := [name for name, count in Counter(classes.values()).items() if count > 1]:
        say_once(f"{file}: {', '.join(map(quoted, twice))} stands in `names` for several numbers, which become one class")
    return YOLOFolder(file, classes, parts, values)


def read_yolo(folder: YOLOFolder, image_set: str) -> list[ImageRecord]:
    """The images of `all`, of a part, or of `train` and `test` as dealt out where there is one part.

    An image without a file of labels has no objects.

    Raises:
        FileNotFoundError: no such part.
        ValueError: what is wrong with images and labels, all in one message.
    """
    everything = list(dict.fromkeys(path for images in folder.parts.values() for path in images))
    ids = dict(zip(everything, unique_ids([p.stem for p in everything], everything, folder.file.parent), strict=True))
    labels = list(folder.parts)
    if len(labels) == 1 and image_set in ("train", "test"):
        wanted = [path for path in everything if dealt(ids[path], image_set)]
    else:
        parts = [labels[k] for k in chosen(labels, image_set, folder.file, "parts")]
        wanted = list(dict.fromkeys(path for part in parts for path in folder.parts[part]))
    parse = _line_parser()
    records, problems = [], _labels_without_image(wanted, everything)
    for path in wanted:
        record, wrong = _record(path, ids[path], folder, parse)
        problems += wrong
        records += [record] if record is not None else []
    if wanted and not problems and not any(_labels_of(path).is_file() for path in wanted):
        problems.append(f"no image has a file of labels; the first is looked for as {_labels_of(wanted[0])}")
    raise_problems(folder.file, problems)
    return records


def _record(path: Path, image_id: str, folder: YOLOFolder, parse: Callable) -> tuple[ImageRecord | None, list[str]]:
    try:
        width, height = image_size(path)
    except UnreadableImage as error:
        return None, [str(error)]
    file = _labels_of(path)
    names, boxes, problems = [], [], []
    try:
        lines = lines_of(file) if file.is_file() else []
    except ValueError as error:
        return None, [str(error)]
    for number, line in enumerate(lines, start=1):
        where = f"{file}, line {number}"
        try:
            label, box, inside = parse(line, width, height, folder.key_point_values)
        except ValueError as error:
            problems.append(f"{where}: {shortened(error, 200)}")
            continue
        except OverflowError:  # of a C integer
            problems.append(f"{where}: there is no class {line.split()[0]:.40} in {folder.file.name}")
            continue
        if label not in folder.names:
            problems.append(f"{where}: there is no class {label} in {folder.file.name}")
        elif not inside:
            problems.append(f"{where}: {quoted(line)} has values beyond 1; are they pixels? They are shares here")
        elif problem := box_problem(box, width, height):
            problems.append(f"{where}: {quoted(line)} {problem}; correct or delete it")
        else:
            names.append(folder.names[label])
            boxes.append(np.clip(box, 0, (width, height, width, height)))
    record = ImageRecord(
        image_id, path, width, height, tuple(names), np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(names), bool)
    )
    return (None if problems else record), problems


def _line_parser() -> Callable[[str, int, int, int], tuple[int, np.ndarray, bool]]:
    """A function from a line to the class, the box in pixels, and whether the line holds shares at all."""
    from supervision.dataset.formats.yolo import yolo_annotations_to_detections  # takes a second or two

    def parse(line: str, width: int, height: int, key_point_values: int) -> tuple[int, np.ndarray, bool]:
        values = line.split()
        if strange := [value for value in values if "_" in value]:
            raise UserError(f"{quoted(strange[0])} is no number")
        if key_point_values and len(values) == 5 + key_point_values:
            values = values[:5]
        detection = yolo_annotations_to_detections([" ".join(values)], (width, height), with_masks=False)
        end = len(values) if len(values) % 2 or len(values) == 5 else len(values) - 1  # a confidence may trail
        shares = np.array(values[1:end], float)
        return int(detection.class_id[0]), detection.xyxy[0].astype(float), bool(np.abs(shares).max() <= 1.5)

    return parse


def _labels_of(image: Path) -> Path:
    """Where an image's labels lie: in `labels` in the place of the last `images` of its way, else beside it."""
    steps = list(image.parts[:-1])
    for k in range(len(steps) - 1, -1, -1):
        if steps[k].lower() in ("images", "jpegimages"):
            steps[k] = "labels"
            return as_it_lies(Path(*steps, f"{image.stem}.txt"))
    beside = as_it_lies(image.with_suffix(".txt"))
    apart = as_it_lies(image.parent / "labels" / beside.name)
    return apart if apart.is_file() and not beside.is_file() else beside


def _labels_without_image(wanted: Sequence[Path], everything: Iterable[Path]) -> list[str]:
    known = {_labels_of(path) for path in everything}
    problems = []
    for folder in sorted({_labels_of(path).parent for path in wanted}):
        if folder.is_dir() and folder.name != "images":
            orphans = [p for p in entries(folder) if p.suffix.lower() == ".txt" and p.name.lower() not in _NO_LABELS]
            problems += [f"{p}: there is no image of that name" for p in orphans if p not in known]
    return problems


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(file))
    except RecursionError:
        raise UserError(f"{file}: no YAML that can be read: it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise UserError(f"{file}: no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: no description of YOLO data: it says neither `names` nor `train`")
    return content


def _is_description(file: Path) -> bool:
    try:
        content = _content(file)
    except (OSError, ValueError):
        return False
    return "names" in content and any(part_of(str(key)) for key in content)


def _place(file: Path, root: object, item: str) -> Path | None:
    """The folder or list that an entry means: below `path`, below the file, or as services write it, one step too high."""
    low = item
    while low.startswith("../"):
        low = low[3:]
    folder = file.parent
    bases = [folder / str(root), folder] if root else [folder]
    for place in [as_it_lies(base / step) for step in dict.fromkeys((item, low)) for base in bases]:
        if place.exists():
            return _straight(place)
    return None


def _images(place: Path) -> list[Path]:
    """The images of a folder, or of a text file with a path a line."""
    if place.is_dir():
        return [path for path in files_below(place) if is_image_file(path)]
    if place.suffix.lower() != ".txt":
        return [place] if is_image_file(place) else []
    return [as_it_lies(_straight(place.parent / line)) for line in lines_of(place)]


def _straight(path: Path) -> Path:
    """A way without `..`: the same file has one name, and one id."""
    return Path(os.path.normpath(path))
