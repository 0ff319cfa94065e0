"""COCO files, written by hand."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 64, "name": "potted plant"}]


def one_image(root: Path, **image) -> dict:
    """A COCO file of one image of 40x30, a.jpg, with one dog, as a mapping to spoil."""
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(root / "a.jpg")
    entry = {"id": 1, "image_id": 5, "category_id": 18, "bbox": [2, 3, 20, 10], "iscrowd": 0}
    listed = {"id": 5, "file_name": "a.jpg", "width": 40, "height": 30} | image
    return {"images": [listed], "annotations": [entry], "categories": [dict(c) for c in CATEGORIES]}


def put(root: Path, content: object, name: str = "set.json", encoding: str = "utf-8") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    return root / name


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(path)
    return path
