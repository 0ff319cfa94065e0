"""Own folders: VOC XML without lists, COCO files, devkits; the same objects whichever way they are written, and refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.annotated_folder import class_names, is_devkit, list_names, read_images
from repmet.data.readers.coco import read_coco
from repmet.data.sources.voc import read_image_set

# By image: (class, x1, y1, x2, y2 in pixels from 0, difficult)
OBJECTS = {f"photo{i:02d}": [("cup", 3, 4, 20 + i, 30, 0), ("pen", 30, 10, 50, 25, i % 2)] for i in range(24)}
OBJECTS["empty"] = []


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(path)


def xml(objects) -> str:
    tags = "".join(
        f"<object><name>{n}</name><difficult>{d}</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
        f"<xmax>{x2 + 1}</xmax><ymax>{y2 + 1}</ymax></bndbox></object>"
        for n, x1, y1, x2, y2, d in objects
    )
    return f"<annotation><size><width>64</width><height>48</height></size>{tags}</annotation>"


def coco(ids) -> dict:
    kinds = {"cup": 7, "pen": 3}
    rows = [(i, o) for i, name in enumerate(ids) for o in OBJECTS[name]]
    return {
        "images": [{"id": i, "file_name": f"{name}.png", "width": 64, "height": 48} for i, name in enumerate(ids)],
        "categories": [{"id": k, "name": n} for n, k in kinds.items()],
        "annotations": [
            {"id": k, "image_id": i, "category_id": kinds[n], "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": d}
            for k, (i, (n, x1, y1, x2, y2, d)) in enumerate(rows)
        ],
    }


@pytest.fixture(params=["beside", "apart", "coco", "coco annotations", "coco file"])
def folder(request, tmp_path: Path) -> Path:
    """The same images and objects, in the five ways that people keep them."""
    kind, root = request.param, tmp_path / "own"
    pictures = root if kind in ("beside", "coco") else root / "images"
    for name in OBJECTS:
        picture(pictures / f"{name}.png")
    (root / "annotations").mkdir()
    if kind in ("beside", "apart"):
        for name, objects in OBJECTS.items():
            (root / ("" if kind == "beside" else "annotations") / f"{name}.xml").write_text(xml(objects))
    else:
        file = root / ("annotations" if kind != "coco" else "") / "labels.json"
        file.write_text(json.dumps(coco(OBJECTS)))
        return file if kind == "coco file" else root
    return root


def test_the_same_objects_however_they_are_kept(folder: Path) -> None:
    records = {r.id: r for r in read_images(folder)}
    assert set(records) == set(OBJECTS) and not is_devkit(folder)
    for name, objects in OBJECTS.items():
        record = records[name]
        assert record.path.is_file() and (record.width, record.height) == (64, 48)
        assert record.names == tuple(o[0] for o in objects)
        np.testing.assert_array_equal(record.boxes, np.array([o[1:5] for o in objects], np.float32).reshape(-1, 4))
        assert record.difficult.tolist() == [bool(o[5]) for o in objects]
    assert class_names(list(records.values())) == ["cup", "pen"]


def test_a_folder_without_lists_is_dealt_out_by_id(folder: Path) -> None:
    train, test = ({r.id for r in read_images(folder, part)} for part in ("train", "test"))
    assert train | test == set(OBJECTS) and not train & test
    assert 0 < len(test) < len(train)
    assert list_names(folder) == {"train": "train", "base_test": "test", "support": "all", "query": "all"}
    with pytest.raises(FileNotFoundError, match="all, train and test, not 'val'"):
        read_images(folder, "val")


def test_an_image_keeps_its_part_when_others_go(tmp_path: Path) -> None:
    for name, objects in OBJECTS.items():
        picture(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.xml").write_text(xml(objects))
    before = {r.id for r in read_images(tmp_path, "test")}
    for name in list(OBJECTS)[::3]:
        (tmp_path / f"{name}.xml").unlink()
    after = {r.id for r in read_images(tmp_path, "test")}
    assert after == before - set(list(OBJECTS)[::3])


def test_coco_files_of_parts_are_lists(tmp_path: Path) -> None:
    for name in OBJECTS:
        picture(tmp_path / "images" / f"{name}.png")
    (tmp_path / "annotations").mkdir()
    parts = {"instances_train": list(OBJECTS)[:15], "instances_val": list(OBJECTS)[15:]}
    for stem, ids in parts.items():
        (tmp_path / "annotations" / f"{stem}.json").write_text(json.dumps(coco(ids)))
    (tmp_path / "package.json").write_text('{"name": "no annotations"}')
    assert [r.id for r in read_images(tmp_path, "train")] == parts["instances_train"]
    assert [r.id for r in read_images(tmp_path, "instances_val")] == parts["instances_val"]
    assert len(read_images(tmp_path)) == len(OBJECTS)
    assert list_names(tmp_path) == {"train": "train", "base_test": "val", "support": "train", "query": "val"}
    with pytest.raises(FileNotFoundError, match="'test' is not one of its COCO files: instances_train, instances_val"):
        read_images(tmp_path, "test")
    shutil.copy(tmp_path / "annotations/instances_train.json", tmp_path / "annotations/instances_val.json")
    with pytest.raises(ValueError, match="15 images in two COCO files, the first: 'photo00', in ") as caught:
        read_images(tmp_path)
    assert str(caught.value).endswith(", in annotations/instances_train.json and in annotations/instances_val.json")


def test_a_devkit_is_read_as_one(repmet_data: Path) -> None:
    root = repmet_data / "FOD-A"
    assert is_devkit(root)
    ours, devkit = read_images(root, "test"), read_image_set(root, "test")
    assert [r.id for r in ours] == [r.id for r in devkit]


DAMAGE = {
    "no width and height": lambda c: c["images"][2].pop("width"),
    "is listed twice": lambda c: c["images"].append(c["images"][0] | {"id": 99}),
    "two images have the id 0": lambda c: c["images"].append({"id": 0, "file_name": "other.png", "width": 1, "height": 1}),
    "not there": lambda c: c["images"][0].update(file_name="nowhere.png"),
    "of an image that is not listed": lambda c: c["annotations"][0].update(image_id=1234),
    "there is no category 55": lambda c: c["annotations"][0].update(category_id=55),
    "lies outside": lambda c: c["annotations"][0].update(bbox=[50, 4, 30, 30]),
    "has no area": lambda c: c["annotations"][0].update(bbox=[5, 5, 0, 9]),
    "is not .x, y, width, height.": lambda c: c["annotations"][0].update(bbox=[5, 5, float("nan"), 9]),
    "categories 0 has no 'name'": lambda c: c["categories"][0].update(name=None),
    "images 1 has no 'id'": lambda c: c["images"][1].pop("id"),
    "images 1 is no mapping, but 3": lambda c: c["images"].__setitem__(1, 3),
    "'annotations' is no list": lambda c: c.update(annotations=None),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_coco_file_is_one_message(what: str, tmp_path: Path) -> None:
    for name in OBJECTS:
        picture(tmp_path / f"{name}.png")
    content = coco(OBJECTS)
    DAMAGE[what](content)
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"labels.json: .*(\n.*)*{what}"):
        read_coco(tmp_path / "labels.json")


def test_what_is_not_annotated_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_images(tmp_path / "nowhere")
    picture(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"neither VOC XML files, nor a JSON file .* .1 image found"):
        read_images(tmp_path)
    (tmp_path / "b.xml").write_text(xml(OBJECTS["photo01"]))
    with pytest.raises(ValueError, match=r"b\.xml: there is no image of that name"):
        read_images(tmp_path)
    (tmp_path / "b.xml").rename(tmp_path / "a.xml")
    assert len(read_images(tmp_path, classes=["cup"])) == 1
    with pytest.raises(ValueError, match="class 'cop': no annotation has it; did you mean 'cup'"):
        read_images(tmp_path, classes=["cop"])
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json: damaged, or no JSON"):
        read_coco(tmp_path / "broken.json")
    with pytest.raises(ValueError, match=r"broken\.json: damaged, or no JSON"):
        read_images(tmp_path)
    (tmp_path / "broken.json").unlink()
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"a\.png: "):
        read_images(tmp_path)
