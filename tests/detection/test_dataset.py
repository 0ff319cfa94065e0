"""DevkitDataset: which images and objects training sees, and a batch through mmdet's own pipeline."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from repmet.data.generated.glyph_scenes import lay_out
from repmet.data.sources.voc import read_image_set
from repmet.detection.dataset import DevkitDataset, to_data_info
from repmet.errors import UserError

# image: objects as (class, box in VOC's pixels from 1, difficult)
IMAGES = {
    "both": [("cat", (11, 21, 50, 60), 0), ("dog", (61, 11, 100, 70), 0)],
    "hard_cat": [("cat", (11, 21, 50, 60), 1), ("dog", (61, 11, 100, 70), 0)],
    "only_hard": [("cat", (1, 1, 30, 30), 1)],
    "unlisted": [("bird", (1, 1, 30, 30), 0)],
    "with_novel": [("cat", (11, 21, 50, 60), 0), ("cow", (5, 5, 20, 20), 0)],
    "hard_novel": [("cat", (11, 21, 50, 60), 0), ("cow", (5, 5, 20, 20), 1)],
    "empty": [],
    "listed_and_not": [("bird", (1, 1, 30, 30), 0), ("dog", (61, 11, 100, 70), 0)],
}


@pytest.fixture(scope="module")
def devkit(tmp_path_factory, make_devkit) -> Path:
    lists = {"all": list(IMAGES), "some": ["both", "only_hard"], "novel": ["with_novel", "hard_novel"]}
    return make_devkit(tmp_path_factory.mktemp("devkit"), IMAGES, lists)


def dataset(root, image_set="all", classes=("cat", "dog"), pipeline=(), **kwargs):
    return DevkitDataset(root=str(root), image_set=image_set, classes=classes, pipeline=list(pipeline), **kwargs)


def ids(data):
    return [data.get_data_info(i)["img_id"] for i in range(len(data))]


def instances(data, name):
    return data.get_data_info(ids(data).index(name))["instances"]


def test_training_takes_images_with_a_usable_object(devkit):
    data = dataset(devkit)
    assert ids(data) == ["both", "hard_cat", "with_novel", "hard_novel", "listed_and_not"]
    assert [r.id for r in data.records] == ids(data)
    assert data.metainfo["classes"] == ("cat", "dog")


def test_images_with_a_class_to_drop_are_left_out_difficult_ones_too(devkit):
    assert ids(dataset(devkit, drop=["cow"])) == ["both", "hard_cat", "listed_and_not"]
    assert ids(dataset(devkit, drop=["cow", "dog"], classes=["cat", "bird"])) == ["unlisted"]


def test_a_training_says_what_it_is_on(devkit):
    assert dataset(devkit).summary() == f"5 of 8 images of {devkit}, all: 6 objects of 2 classes: cat (3), dog (3)"
    only = dataset(devkit, drop=["cow"], classes=["bird"]).summary()
    assert only == f"2 of 8 images of {devkit}, all: 2 objects of 1 class: bird (2)"


def test_damage_in_the_middle_of_an_image_is_found_before_the_training(tmp_path, make_devkit):
    root = make_devkit(tmp_path / "devkit", IMAGES, {"all": list(IMAGES)})
    (path,) = (r.path for r in dataset(root).records if r.id == "with_novel")
    noise = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
    with Image.open(path) as before:
        kind, size = before.format, before.size
    Image.fromarray(noise).resize(size).save(path, kind)
    whole = path.read_bytes()
    if kind == "PNG":
        path.write_bytes(whole[: len(whole) // 2] + bytes(40) + whole[len(whole) // 2 + 40 :])
    else:
        path.write_bytes(whole[:200] + whole[-40:])
    with pytest.raises(UserError, match=rf"1 problem:\n  {path}: cannot be read as an image"):
        dataset(root)
    dataset(root, test_mode=True)  # finds it when its turn comes
    assert "with_novel" not in ids(dataset(root, drop=["cow"])), "what is not trained on is not read"


def test_testing_takes_every_image(devkit):
    assert ids(dataset(devkit, test_mode=True)) == list(IMAGES)
    assert ids(dataset(devkit, test_mode=True, drop=["cow"])) == [n for n in IMAGES if "novel" not in n]


def test_labels_follow_the_order_of_the_classes(devkit):
    boxes = [[10, 20, 50, 60], [60, 10, 100, 70]]  # x1, y1 from 0, x2 and y2 the right and lower edge's pixel from 0
    for classes, labels in ((("cat", "dog"), [0, 1]), (("dog", "cat"), [1, 0])):
        objects = instances(dataset(devkit, classes=classes), "both")
        assert [o["bbox_label"] for o in objects] == labels and [o["ignore_flag"] for o in objects] == [0, 0]
        np.testing.assert_allclose([o["bbox"] for o in objects], boxes, atol=1)


def test_boxes_are_those_of_the_reader(devkit):
    data = dataset(devkit)
    for record, info in zip(data.records, map(data.get_data_info, range(len(data))), strict=True):
        np.testing.assert_array_equal([o["bbox"] for o in info["instances"]], record.boxes)
        assert (info["width"], info["height"]) == (120, 80) and Path(info["img_path"]) == record.path


@pytest.mark.parametrize(
    ("name", "flags"), [("hard_cat", [1, 0]), ("with_novel", [0, 1]), ("hard_novel", [0, 1]), ("listed_and_not", [1, 0])]
)
def test_difficult_and_unlisted_objects_are_ignored(devkit, name, flags):
    assert [o["ignore_flag"] for o in instances(dataset(devkit), name)] == flags


def test_one_record_for_many_class_lists(devkit):
    (record,) = [r for r in read_image_set(devkit, "all") if r.id == "hard_cat"]
    assert [o["ignore_flag"] for o in to_data_info(record, ())["instances"]] == [1, 1]
    assert [o["ignore_flag"] for o in to_data_info(record, ("dog",))["instances"]] == [1, 0]


def test_nothing_left_is_an_error(devkit):
    with pytest.raises(ValueError, match=r"no image of 'novel' holds an object of the 1 classes .* of the 1 classes"):
        dataset(devkit, "novel", classes=["cat"], drop=["cow"])
    with pytest.raises(ValueError, match="no image of 'some'"):
        dataset(devkit, "some", drop=["cat"], classes=["dog"])


def test_a_class_that_no_annotation_has_is_an_error(devkit):
    with pytest.raises(ValueError, match=r"class 'catt': no annotation has it; did you mean 'cat'\?"):
        dataset(devkit, classes=["catt", "dog"])


def test_a_missing_list_is_an_error(devkit):
    with pytest.raises(FileNotFoundError, match=r"no image set 'trian'; there are: all, novel, some"):
        dataset(devkit, "trian")


def test_mmdets_pipeline_and_loader(devkit):
    from mmdet.registry import DATASETS
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DefaultScope
    from torch.utils.data import DataLoader

    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "Resize", "scale": (240, 160), "keep_ratio": True},
        {"type": "RandomFlip", "prob": 1.0},
        {"type": "PackDetInputs"},
    ]
    with DefaultScope.overwrite_default_scope("mmdet"):
        config = {"type": "DevkitDataset", "root": str(devkit), "image_set": "all", "classes": ["cat", "dog"]}
        data = DATASETS.build(config | {"drop": ["cow"], "pipeline": pipeline})
        (batch,) = DataLoader(data, batch_size=3, collate_fn=pseudo_collate)
    assert [tuple(image.shape) for image in batch["inputs"]] == [(3, 160, 240)] * 3
    hard = batch["data_samples"][1]
    record = data.records[1]
    wanted = torch.from_numpy(record.boxes) * 2
    wanted = torch.stack([240 - wanted[:, 2], wanted[:, 1], 240 - wanted[:, 0], wanted[:, 3]], 1)  # mirrored
    torch.testing.assert_close(hard.gt_instances.bboxes.tensor, wanted[1:])
    assert hard.gt_instances.labels.tolist() == [1]
    torch.testing.assert_close(hard.ignored_instances.bboxes.tensor, wanted[:1])


def test_glyph_scenes_are_read_by_the_same_path(tmp_path):
    counts = {"train": 6, "val": 3, "novel_support": 3, "novel_query": 3}
    root = lay_out(tmp_path / "scenes", base_classes=4, novel_classes=3, counts=counts)
    classes = [f"base_{i:03d}" for i in range(4)]
    novel = [f"novel_{i:03d}" for i in range(3)]
    data = dataset(root, "train", classes=classes, drop=novel)
    assert len(data) == 6
    assert not any(o["ignore_flag"] for i in range(6) for o in data.get_data_info(i)["instances"])
    with pytest.raises(ValueError, match="no annotation has it"):
        dataset(root, "novel_query", classes=classes)
    with pytest.raises(ValueError, match="no image of 'novel_query'"):
        dataset(root, "novel_query", classes=novel, drop=novel)
