"""A generator of odd annotations: VOC, COCO, YOLO and CVAT with a field missing, doubled, or of another type, unit or
encoding."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import yaml

SIZE = (60, 40)
IMAGES = ("a.png", "b.png")
VALUES = (
    None, "", " ", "x", "größe ねじ", "../../a.png", "a\x00b", -1, 0, 0.5, 7, 10**30, float("inf"), float("nan"), True, [],
    {}, [1, 2], {"a": 1}, "1e3", "12", "１２", "a" * 5000,
)  # fmt: skip


@dataclass(frozen=True)
class OddAnnotation:
    """The files of a set beside `IMAGES`, by name.

    Attributes:
        case: layout, and what is odd. whole: whether it has to be read; else a line that names the set is as good.
    """

    files: dict[str, bytes]
    case: str
    whole: bool = False


def odd_annotations(seed: int, each: int = 30) -> Iterator[OddAnnotation]:
    """`each` sets of each layout, drawn from all places and values."""
    draw = np.random.default_rng(seed)
    for layout, written in (("VOC", voc), ("COCO", coco), ("YOLO", yolo), ("CVAT", cvat)):
        content, to_files = written()
        yield OddAnnotation(to_files(content), f"{layout}: as it should be", whole=True)
        places = [place for place in places_in(content) if place]
        for _ in range(each):
            place, kind = places[draw.integers(len(places))], draw.choice(["missing", "doubled", "another value", "bytes"])
            if kind == "bytes":
                files = to_files(content)
                name = str(draw.choice(sorted(files)))
                yield OddAnnotation(files | {name: changed_bytes(files[name], draw)}, f"{layout}: cut, changed, re-encoded")
                continue
            odd = copy.deepcopy(content)
            node = odd
            for key in place[:-1]:
                node = node[key]
            if kind == "another value":
                node[place[-1]] = VALUES[draw.integers(len(VALUES))]
            elif kind == "missing":
                del node[place[-1]]
            elif isinstance(node, list):
                node.append(copy.deepcopy(node[place[-1]]))
            else:
                node[place[-1]] = [node[place[-1]]] * 2
            yield OddAnnotation(to_files(odd), f"{layout}: a field {kind}")


def places_in(node: Any, place: tuple = ()) -> Iterator[tuple]:
    """The way to every value of nested lists and mappings."""
    yield place
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places_in(value, (*place, key))


def changed_bytes(content: bytes, draw: np.random.Generator) -> bytes:
    text = content.decode()
    kinds: list[Callable[[], bytes]] = [
        lambda: content[: int(draw.integers(len(content) + 1))],
        lambda: b"\xef\xbb\xbf" + content,
        lambda: text.encode("utf-16"),
        lambda: text.replace("cat", "größe").encode("latin-1"),
        lambda: content.replace(b"\n", b"\r\n"),
        lambda: content[: len(content) // 2] + draw.bytes(4) + content[len(content) // 2 + 4 :],
        lambda: b"<html>404</html>",
        lambda: content + content,
    ]
    return kinds[draw.integers(len(kinds))]()


def voc() -> tuple[Any, Callable[[Any], dict[str, bytes]]]:
    def annotation(name: str, label: str) -> dict:
        box = {"xmin": 5, "ymin": 6, "xmax": 40, "ymax": 30}
        return {
            "filename": name,
            "size": {"width": SIZE[0], "height": SIZE[1], "depth": 3},
            "object": {"name": label, "difficult": 0, "truncated": 0, "bndbox": box},
        }

    def element(tag: str, value: Any) -> xml.Element:
        made = xml.Element(tag)
        if isinstance(value, dict):
            for key, item in value.items():
                for part in item if isinstance(item, list) else [item]:
                    made.append(element(str(key), part))
        elif value is not None:
            made.text = str(value).replace("\x00", "")
        return made

    def files(content: Any) -> dict[str, bytes]:
        return {
            f"{stem}.xml": xml.tostring(element("annotation", part), encoding="unicode").encode()
            for stem, part in content.items()
        }

    return {"a": annotation("a.png", "cat"), "b": annotation("b.png", "dog")}, files


def coco() -> tuple[Any, Callable[[Any], dict[str, bytes]]]:
    images = [{"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for number, name in enumerate(IMAGES)]
    boxes = [
        {"id": n, "image_id": n, "category_id": n + 1, "bbox": [5, 6, 30, 20], "area": 600, "iscrowd": 0} for n in (0, 1)
    ]
    classes = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": boxes, "categories": classes}
    return content, lambda content: {"annotations.json": json.dumps(content, ensure_ascii=False).encode()}


def yolo() -> tuple[Any, Callable[[Any], dict[str, bytes]]]:
    def files(content: Any) -> dict[str, bytes]:
        lines = content.get("lines") if isinstance(content.get("lines"), dict) else {}
        texts = {f"{stem}.txt": row for stem, row in lines.items()}
        said = {key: value for key, value in content.items() if key != "lines"}
        return {
            "data.yaml": yaml.safe_dump(said, allow_unicode=True).encode(),
            **{
                name: (" ".join(map(str, row)) if isinstance(row, list) else str(row)).encode("utf-8", "replace") + b"\n"
                for name, row in texts.items()
            },
        }

    rows = {"a": [0, 0.5, 0.5, 0.4, 0.5], "b": [1, 0.4, 0.5, 0.3, 0.6]}
    return {"names": ["cat", "dog"], "nc": 2, "path": ".", "train": ".", "val": ".", "lines": rows}, files


def cvat() -> tuple[Any, Callable[[Any], dict[str, bytes]]]:
    def element(tag: str, value: Any) -> xml.Element:
        """Plain values are attributes, lists are elements of their singular."""
        made = xml.Element(tag)
        for key, item in value.items() if isinstance(value, dict) else ():
            if isinstance(item, list):
                made.extend(element(str(key).removesuffix("es").removesuffix("s"), part) for part in item)
            elif item is not None and not isinstance(item, dict):
                made.set(str(key), str(item).replace("\x00", ""))
        return made

    def image(name: str, label: str) -> dict:
        box = {"label": label, "xtl": 5.0, "ytl": 6.0, "xbr": 40.0, "ybr": 30.0, "occluded": 0}
        return {"name": name, "width": SIZE[0], "height": SIZE[1], "boxes": [box]}

    def files(content: Any) -> dict[str, bytes]:
        images = content.get("images") if isinstance(content.get("images"), list) else []
        root = xml.Element("annotations")
        root.extend(element("image", part) for part in images)
        return {"annotations.xml": xml.tostring(root, encoding="unicode").encode("utf-8", "replace")}

    return {"images": [image("a.png", "cat"), image("b.png", "dog")]}, files
