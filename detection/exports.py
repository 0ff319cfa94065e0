"""Detections of many images as a data set of another tool: COCO, YOLO, VOC, CSV, pre-annotations of Label Studio and CVAT.

    coco         annotations.json
    yolo         data.yaml, labels/NAME.txt (images in images/)
    voc          Annotations/NAME.xml, ImageSets/Main/default.txt, labelmap.txt (images in JPEGImages/)
    labelstudio  tasks.json with predictions, labels.xml with the labelling interface that they fit
    cvat         annotations.xml, "CVAT for images 1.1"
    csv          detections.csv, a row a box

An image in which nothing was found is in each of them.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as xml

import yaml

from repmet.data.files.atomic import copy_file, write_atomically, write_text
from repmet.data.files.names import composed, plain_name
from repmet.data.files.output_folder import output_folder
from repmet.detection import formats
from repmet.errors import UserError, did_you_mean
from repmet.label_studio_region import region

if TYPE_CHECKING:
    from repmet.data.readers.image_inputs import ImageInput
    from repmet.detection.results import Detections


@dataclass(frozen=True)
class Exported:
    """What was written: the file to hand to the other tool, and how much is in it."""

    folder: Path
    file: Path
    images: int
    boxes: int


def export(
    detections: Iterable[Detections], folder: str | Path, kind: str, *, images: bool = False, sure: float = 0.0
) -> Exported:
    """Writes detections of several images, looked at for the same classes; the whole set, or on an error nothing.

    Args:
        detections: as `FewShotDetector.detect` gives them.
        folder: is made where it is not there.
        kind: one of `KINDS`.
        images: put a copy of the images beside the annotations, where the format looks for them.
        sure: finds with a lower score are neither objects nor background: COCO has them as crowds, VOC as difficult, and who
            trains on these ignores the place. The other formats have no word for it and leave them out.

    Raises:
        ValueError: no such format; no image; a file of somebody else's is in the way (`output_folder`).
        OSError: the folder cannot be written to; an image is gone.
    """
    if kind not in KINDS:
        raise UserError(f"no format {kind!r}; {did_you_mean(kind, KINDS)}")
    results = list(detections)
    if not results:
        raise UserError("there is nothing to export: no image was looked at")
    names = file_names([result.image for result in results], copied=images)
    with output_folder(folder, whole=LABELS.get(kind)) as aside:
        if images:
            _copy(results, names, aside / _IMAGES.get(kind, "images"))
        if kind in _WITH_DOUBT:
            file = _WITH_DOUBT[kind](results, names, aside, sure)
        else:
            file = KINDS[kind]([result.above(sure) for result in results], names, aside)
        file = Path(folder) / file.relative_to(aside)
    return Exported(Path(folder), file, len(results), sum(len(result.above(sure)) for result in results))


def files_of(images: Sequence[ImageInput], kind: str, *, copied: bool = False) -> list[str]:
    """The files of a data set of some images; arguments as of `file_names`."""
    names = file_names(images, copied=copied)
    stems = [PurePosixPath(name).with_suffix("") for name in names]
    files = [name for file in _FILES[kind] for name in ([file.format(stem) for stem in stems] if "{}" in file else [file])]
    return files + [f"{_IMAGES.get(kind, 'images')}/{name}" for name in names if copied]


def file_names(images: Sequence[ImageInput], *, copied: bool = False) -> list[str]:
    """What each image is called in a data set: its path below the folder of all, no two alike but for the suffix.

    Args:
        copied: the set has files of its own, whose names every reader of such sets gives back (`plain_name`); a folder that
            is called `images`, which would have its labels elsewhere, gets an underscore.
    """
    paths = [Path(os.path.abspath(image.path)) for image in images if image.path]
    try:
        above = Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()
    except ValueError:  # on different drives
        above = None
    names: list[str] = []
    taken: set[str] = set()
    for image in images:
        path = image.path
        if path is None:
            name = PurePosixPath(f"{image.stem}.png")
        else:
            whole = Path(os.path.abspath(path))
            name = PurePosixPath((whole.relative_to(above) if above is not None else Path(whole.name)).as_posix())
        if copied:
            *folders, file = (plain_name(step) for step in name.parts)
            file = f"{plain_name(PurePosixPath(file).stem)}{name.suffix}"
            name = PurePosixPath(*(f"{step}_" if step.lower() in _OF_SETS else step for step in folders), file)
        stem, count = name.with_suffix(""), 2
        while composed(str(stem)).casefold() in taken:
            stem, count = name.with_suffix("").with_name(f"{name.stem}-{count}"), count + 1
        taken.add(composed(str(stem)).casefold())
        names.append(f"{stem}{name.suffix}")
    return names


def _copy(results: Sequence[Detections], names: Sequence[str], folder: Path) -> None:
    for result, name in zip(results, names, strict=True):
        to = folder / name
        if result.image.path is None:
            picture = result.open()
            write_atomically(to, lambda file, picture=picture: picture.save(file, format="PNG"))
        else:
            copy_file(result.image.path, to)


def _coco(results: Sequence[Detections], names: Sequence[str], folder: Path, sure: float = 0.0) -> Path:
    content = formats.coco(results)
    for row in content["annotations"]:
        row["iscrowd"] = int(row["score"] < sure)
    for image, name in zip(content["images"], names, strict=True):
        image["file_name"] = name
    return _written(folder / "annotations.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _yolo(results: Sequence[Detections], names: Sequence[str], folder: Path) -> Path:
    for result, name in zip(results, names, strict=True):
        _written(folder / "labels" / PurePosixPath(name).with_suffix(".txt"), result.to_yolo())
    classes = dict(enumerate(results[0].classes))
    content = {"path": ".", "train": "images", "val": "images", "names": classes}
    return _written(folder / "data.yaml", yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _voc(results: Sequence[Detections], names: Sequence[str], folder: Path, sure: float = 0.0) -> Path:
    stems = [PurePosixPath(name).with_suffix("") for name in names]
    for result, name, stem in zip(results, names, stems, strict=True):
        tree = xml.fromstring(result.to_voc())
        for tag, value in (("folder", "JPEGImages"), ("filename", name)):
            (tree.find(tag) if tree.find(tag) is not None else xml.SubElement(tree, tag)).text = value
        for thing, score in zip(tree.iter("object"), result.scores.tolist(), strict=True):
            difficult = xml.Element("difficult")
            difficult.text = str(int(score < sure))
            thing.insert(1, difficult)  # behind the name
        _written(folder / "Annotations" / f"{stem}.xml", xml.tostring(tree, encoding="unicode") + "\n")
    labels = "".join(f"{name}:::\n" for name in results[0].classes)  # without it CVAT knows VOC's twenty classes alone
    _written(folder / "labelmap.txt", f"# label:color_rgb:parts:actions\n{labels}")
    return _written(folder / "ImageSets" / "Main" / "default.txt", "".join(f"{stem}\n" for stem in stems))


def _labelstudio(results: Sequence[Detections], names: Sequence[str], folder: Path) -> Path:
    """Boxes are percentages of the image; local files are served by Label Studio below the root that it is told."""
    tasks = []
    for result, name in zip(results, names, strict=True):
        shown = [
            region(number, (x1, y1, x2, y2), label, score, result.size)
            for number, (_, label, score, x1, y1, x2, y2) in enumerate(result.rows())
        ]
        source = result.image.source
        address = source if isinstance(source, str) else f"/data/local-files/?d={quote(name)}"
        score = float(result.scores.mean()) if len(result) else 0.0
        prediction = {"model_version": "repmet", "score": score, "result": shown}
        tasks.append({"data": {"image": address}, "predictions": [prediction]})
    view = xml.Element("View")
    xml.SubElement(view, "Image", name="image", value="$image", zoom="true")
    labels = xml.SubElement(view, "RectangleLabels", name="label", toName="image")
    for label in results[0].classes:
        xml.SubElement(labels, "Label", value=label)
    xml.indent(view)
    _written(folder / "labels.xml", xml.tostring(view, encoding="unicode") + "\n")
    return _written(folder / "tasks.json", json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")


def _cvat(results: Sequence[Detections], names: Sequence[str], folder: Path) -> Path:
    root = xml.Element("annotations")
    xml.SubElement(root, "version").text = "1.1"
    labels = xml.SubElement(xml.SubElement(xml.SubElement(root, "meta"), "task"), "labels")
    for name in results[0].classes:
        xml.SubElement(xml.SubElement(labels, "label"), "name").text = name
    for number, (result, name) in enumerate(zip(results, names, strict=True)):
        width, height = result.size
        image = xml.SubElement(root, "image", id=str(number), name=name, width=str(width), height=str(height))
        for _, label, _, *sides in result.rows():
            corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), (f"{side:.2f}" for side in sides), strict=True))
            xml.SubElement(image, "box", {"label": label, "source": "auto", "occluded": "0", **corners, "z_order": "0"})
    xml.indent(root)
    text = '<?xml version="1.0" encoding="utf-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"
    return _written(folder / "annotations.xml", text)


def _csv(results: Sequence[Detections], names: Sequence[str], folder: Path) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "width", "height", "class", "score", "x1", "y1", "x2", "y2"))
    for result, name in zip(results, names, strict=True):
        rows: list[Any] = [row[1:] for row in result.rows()] or [("",) * 6]
        writer.writerows((name, *result.size, *row) for row in rows)
    return _written(folder / "detections.csv", text.getvalue())


def _written(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


KINDS = {"coco": _coco, "yolo": _yolo, "voc": _voc, "labelstudio": _labelstudio, "cvat": _cvat, "csv": _csv}
_WITH_DOUBT = {"coco": _coco, "voc": _voc}
_FILES = {
    "coco": ("annotations.json",),
    "yolo": ("data.yaml", "labels/{}.txt"),
    "voc": ("labelmap.txt", "ImageSets/Main/default.txt", "Annotations/{}.xml"),
    "labelstudio": ("tasks.json", "labels.xml"),
    "cvat": ("annotations.xml",),
    "csv": ("detections.csv",),
}
LABELS = {"yolo": "labels", "voc": "Annotations"}  # folders of a file an image, which belong to one list of classes
_IMAGES = {"voc": "JPEGImages"}
_OF_SETS = ("images", "jpegimages")
