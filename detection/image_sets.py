"""Many annotated sets in one training, each with a label space of its own.

A set marks its classes and no others: what it leaves unmarked is unknown, not background. Objects that are annotated under a
class outside a set's label space are ignored, and so are boxes of `unmarked`, where a teacher sees something.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from repmet.data.files.text import read_text
from repmet.data.readers.annotated_folder import class_names, read_images
from repmet.data.sources.voc import ImageRecord, read_class_list
from repmet.errors import UserError

KEYS = ("name", "root", "lists", "classes", "without", "drop", "limit", "unmarked")


@dataclass(frozen=True)
class ImageSet:
    """A set's images and its label space.

    Attributes:
        name: short, unique among the sets of a training.
        classes: the classes that it marks.
        records: its images.
        unmarked: by image id, boxes (n, 4) of things that it does not mark.
    """

    name: str
    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    unmarked: Mapping[str, np.ndarray]

    def labels(self) -> list[str]:
        """The set's classes as they are called among those of other sets."""
        return [f"{self.name}/{name}" for name in self.classes]


def read_sets(configs: Sequence[Mapping]) -> list[ImageSet]:
    """Reads the `data` list of an experiment.

    Each entry names `root` and may name: `name` (the folder's, else), `lists` (image lists; `all`), `classes` (names or a
    file; all that occur), `without` (classes that are not learnt: their objects are ignored), `drop` (classes whose images
    are left out whole), `limit` (so many images, evenly from the list), `unmarked` (a JSON list of {"image_id",
    "bbox": [x, y, width, height]}, as COCO's results).

    Raises:
        ValueError: an unknown key, two sets of one name, or a set without an image.
        FileNotFoundError: a folder or file is not there.
    """
    sets = [_read(config, f"data[{i}]") for i, config in enumerate(configs)]
    names = [s.name for s in sets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"data: two sets are called {twice[0]!r}; give one of them another `name`")
    return sets


def _read(config: Mapping, where: str) -> ImageSet:
    if unknown := sorted(set(config) - set(KEYS)):
        raise UserError(f"{where}: unknown key {unknown[0]}; a set of images has {', '.join(KEYS)}")
    if "root" not in config:
        raise UserError(f"{where}: a set of images names its folder as `root`")
    root = Path(config["root"])
    lists = config.get("lists") or ["all"]
    records = {r.id: r for name in ([lists] if isinstance(lists, str) else lists) for r in read_images(root, name)}
    drop = set(config.get("drop") or ())
    chosen = [r for r in records.values() if not drop & set(r.names)]
    limit = config.get("limit")
    if limit is not None and limit < len(chosen):
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, limit).round().astype(int)]
    classes = config.get("classes")
    classes = class_names(chosen) if classes is None else list(read_class_list(classes, root))
    without = set(config.get("without") or ())
    if absent := sorted(without - set(classes)):
        raise UserError(f"{where}: `without` names {absent[0]}, which is no class of {root}")
    classes = tuple(name for name in classes if name not in without)
    if not any(name in classes for r in chosen for name in r.names):
        raise UserError(f"{where}: no image of {root} holds an object of its {len(classes)} classes")
    unmarked = _read_unmarked(Path(config["unmarked"])) if config.get("unmarked") else {}
    return ImageSet(config.get("name") or root.name, classes, tuple(chosen), unmarked)


def _read_unmarked(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of unmarked boxes")
    boxes: dict[str, list] = {}
    try:
        for row in json.loads(read_text(path)):
            x, y, width, height = row["bbox"]
            boxes.setdefault(str(row["image_id"]), []).append((x, y, x + width, y + height))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path}: no list of boxes as COCO's results are ({reason})") from None
    return {image: np.array(rows, dtype=np.float32) for image, rows in boxes.items()}


def prefixed(record: ImageRecord, name: str) -> ImageRecord:
    """A record under an id that no other set has."""
    return replace(record, id=f"{name}/{record.id}")
