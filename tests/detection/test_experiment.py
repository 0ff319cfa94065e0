"""The `data` section of an experiment: which images of the base training hold a novel object, and what becomes of them."""

from dataclasses import fields
from pathlib import Path

import pytest

from repmet.detection.dataset import DevkitDataset
from repmet.detection.experiment import SECTIONS, prepare
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
        given = dict(cfg.train_dataloader.dataset) | {"pipeline": []}
        assert given.pop("type") == "DevkitDataset"
        return DevkitDataset(**given)

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
