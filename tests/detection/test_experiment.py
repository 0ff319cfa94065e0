"""The `data` section of an experiment: which images of the base training hold a novel object, and what becomes of them."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from repmet.detection.dataset import DevkitDataset
from repmet.detection.experiment import SECTIONS, own_folder, prepare
from repmet.detection.scoring.finetune import FinetuneRule
from repmet.detection.scoring.rule import FewShotRule
from repmet.experiments.config.loading import load_experiment

IMAGES = {
    "base": [("cat", (11, 21, 50, 60), 0)],
    "both": [("cat", (11, 21, 50, 60), 0), ("cow", (5, 5, 20, 20), 0)],
    "novel": [("cow", (5, 5, 20, 20), 0)],
}


@pytest.fixture
def prepared(make_devkit, glyph_run: Path, tmp_path: Path):
    """The training set that an experiment makes of three images, by what it says of those with novel objects."""
    root = make_devkit(tmp_path / "devkit", IMAGES, {"train": list(IMAGES)})

    def dataset(kind: str) -> DevkitDataset:
        options = [f"data.root={root}", "data.base_classes=[cat]", "data.novel_classes=[cow]", f"data.novel_images={kind}"]
        cfg = load_experiment(glyph_run / "tiny.yaml", options)
        prepare(cfg)
        section = dict(cfg.train_dataloader.dataset) | {"pipeline": []}
        assert section.pop("type") == "DevkitDataset"
        return DevkitDataset(**section)

    return dataset


@pytest.mark.parametrize(
    ("kind", "ids", "ignored"),
    [("null", ["base"], [[0]]), ("drop", ["base"], [[0]]), ("ignore", ["base", "both"], [[0], [0, 1]])],
)
def test_images_with_novel_objects(prepared, kind: str, ids: list, ignored: list) -> None:
    data = prepared(kind)
    assert [record.id for record in data.records] == ids
    assert [[o["ignore_flag"] for o in info["instances"]] for info in data.load_data_list()] == ignored


def test_anything_else_is_refused(prepared) -> None:
    with pytest.raises(ValueError, match="novel_images is `drop` or `ignore`, not 'keep'"):
        prepared("keep")


def test_every_field_of_the_episodes_rule_can_be_written_in_an_experiment() -> None:
    rule = {f.name for f in fields(FewShotRule)} - {"sigma", "scale"}  # those are the head's, which the model's section says
    assert rule <= SECTIONS["episodes"].keys()
    assert {f.name for f in fields(FinetuneRule)} == SECTIONS["finetune"].keys()


def _yolo(root: Path) -> None:
    (root / "data.yaml").write_text("names: [cat, cow]\ntrain: ../train/images\nval: ../valid/images\n")


def _coco(root: Path) -> None:
    boxes = {"cat": [10, 8, 20, 20], "cow": [10, 8, 20, 20]}
    for part in ("train", "valid"):
        images = sorted((root / part / "images").iterdir())
        content = {
            "images": [{"id": k, "file_name": f"images/{p.name}", "width": 50, "height": 40} for k, p in enumerate(images)],
            "categories": [{"id": k, "name": name} for k, name in enumerate(boxes)],
            "annotations": [
                {"id": k, "image_id": k, "category_id": int(p.stem.startswith("cow")), "bbox": boxes["cat"]}
                for k, p in enumerate(images)
            ],
        }
        (root / part / "_annotations.coco.json").write_text(json.dumps(content))


@pytest.mark.parametrize("export", [_yolo, _coco])
def test_the_parts_of_an_export_are_the_lists(export, tmp_path: Path) -> None:
    """Equal names in both parts are different images; base classes and novel ones come from the right part."""
    for part in ("train", "valid"):
        for stem in ("cat_1", "cow_1", f"cat_{part}"):
            for folder in ("images", "labels"):
                (tmp_path / part / folder).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (50, 40)).save(tmp_path / part / f"images/{stem}.jpg")
            (tmp_path / part / f"labels/{stem}.txt").write_text(f"{int(stem.startswith('cow'))} 0.4 0.45 0.4 0.5")
    export(tmp_path)
    data = {"root": str(tmp_path), "held_out": "cow"}
    own_folder(data)
    assert (data["train"], data["base_test"], data["support"], data["query"]) == ("train", "val", "train", "val")
    assert (data["base_classes"], data["novel_classes"]) == (["cat"], ["cow"])
    train = DevkitDataset(root=str(tmp_path), image_set="train", classes=["cat"], drop=["cow"], pipeline=[])
    test = DevkitDataset(root=str(tmp_path), image_set="val", classes=["cat"], pipeline=[], test_mode=True)
    names = [[Path(r.path).relative_to(tmp_path).as_posix() for r in d.records] for d in (train, test)]
    assert names[0] == ["train/images/cat_1.jpg", "train/images/cat_train.jpg"]
    assert names[1] == [f"valid/images/{stem}.jpg" for stem in ("cat_1", "cat_valid", "cow_1")]
    assert not {r.id for r in train.records} & {r.id for r in test.records}
    assert train.records[0].boxes[0].tolist() == pytest.approx([10, 8, 30, 28], abs=1e-4)
