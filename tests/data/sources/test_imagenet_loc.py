"""The reader of ILSVRC's tree, on one made by hand: classes, balanced samples, and what it leaves out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repmet.data.readers.annotated_folder import names_lists, read_images
from repmet.data.sources.imagenet_loc import read_imagenet_loc

WNIDS = ("n01440764", "n01443537", "n02085620")


def add(tree: Path, part: str, name: str, wnid: str, box=(2, 3, 30, 20), size=(40, 30)) -> None:
    picture, xml = tree / "Data/CLS-LOC" / part / f"{name}.JPEG", tree / "Annotations/CLS-LOC" / part / f"{name}.xml"
    for path in (picture, xml):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((30, 40, 3), 120, np.uint8)).save(picture, format="JPEG")
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    xml.write_text(
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"<object><name>{wnid}</name><bndbox>{corners}</bndbox></object></annotation>"
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "ILSVRC"
    for wnid in WNIDS:
        for k in range(12):
            add(root, f"train/{wnid}", f"{wnid}_{k}", wnid)
        for k in range(3):
            add(root, "val", f"ILSVRC2012_val_{wnid[-3:]}{k}", wnid)
    return tmp_path


def test_classes_are_read_by_their_folders(tree: Path) -> None:
    records = read_imagenet_loc(tree, "train", WNIDS[:2])
    assert len(records) == 24 and {r.names for r in records} == {(WNIDS[0],), (WNIDS[1],)}
    assert [r.id for r in records] == sorted(r.id for r in records)
    np.testing.assert_array_equal(records[0].boxes, [[1, 2, 29, 19]])
    assert len(read_imagenet_loc(tree / "ILSVRC", "train")) == 36
    assert [r.names[0] for r in read_imagenet_loc(tree, "val", [WNIDS[2]])] == [WNIDS[2]] * 3
    assert names_lists(tree) and len(read_images(tree, "val")) == 9
    with pytest.raises(FileNotFoundError, match=r"no folder of 1 class.es., the first is n99"):
        read_imagenet_loc(tree, "train", ["n99"])


def test_a_balanced_sample_is_drawn_by_seed_class_by_class(tree: Path) -> None:
    def ids(text: str, classes=WNIDS) -> set[str]:
        return {r.id for r in read_images(tree, text, classes=classes)}

    five = ids("train:5")
    assert {wnid: sum(i.startswith(wnid) for i in five) for wnid in WNIDS} == dict.fromkeys(WNIDS, 5)
    assert five == ids("train:5:0") != ids("train:5:1")
    assert ids("train:5", WNIDS[:1]) == {i for i in five if i.startswith(WNIDS[0])}
    assert ids("train:4") < five and len(ids("train:500")) == 36


def test_what_cannot_be_used_is_left_out_and_counted(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    add(tree / "ILSVRC", f"train/{WNIDS[0]}", "outside", WNIDS[0], box=(2, 3, 300, 20))
    add(tree / "ILSVRC", f"train/{WNIDS[0]}", "other_size", WNIDS[0], size=(400, 300))
    records = read_imagenet_loc(tree, "train", WNIDS[:1])
    assert len(records) == 12 and "2 images or boxes are left out" in caplog.text and "other_size" in caplog.text


@pytest.mark.parametrize("wrong", ["test", "val:5", "train:x", "train:1:2:3"])
def test_other_lists_are_refused(tree: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match="is none of train, val"):
        read_imagenet_loc(tree, wrong)


def test_a_folder_that_is_no_tree(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no ILSVRC tree"):
        read_imagenet_loc(tmp_path, "train")
