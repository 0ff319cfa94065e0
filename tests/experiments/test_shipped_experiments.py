"""Every experiment that the project ships: it loads, its header says how to run it, and it trains and predicts.

The training is the experiment's own, shrunk: small images, two iterations of one image, few regions, no pretrained weights.
The images are glyph scenes under the names of the experiment's own classes, in the folders and lists that it names.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope

from repmet.benchmarks.tables.keeping import RESULTS
from repmet.benchmarks.tables.runs import read_runs
from repmet.data.generated.glyph_scenes import lay_out
from repmet.data.readers.annotated_folder import read_images
from repmet.data.sources.voc import ImageRecord, read_class_list, read_image_set
from repmet.experiments.config.loading import load_experiment
from repmet.experiments.config.suites import experiment_name, experiments_below, split_address
from repmet.experiments.running.launcher import build_runner

ROOT = Path(__file__).parents[2]
SHIPPED = [Path(address).relative_to(ROOT).as_posix() for address in experiments_below(ROOT / "experiments")]
FILES = sorted({split_address(name)[0].as_posix() for name in SHIPPED})
DETECTION = [name for name in SHIPPED if "detection" in Path(name).parts]
ON_MANY_SETS = {"experiments/detection/photos.yaml"}
ON_ONE_SET = [name for name in DETECTION if name not in ON_MANY_SETS]
ON_IMAGES = [name for name in ON_ONE_SET if "lite0" not in name]  # others: tests/detection/test_train_on_kept_maps.py
SCENES = {
    "image_size": 160,
    "base_classes": 20,
    "novel_classes": 10,
    "counts": {"train": 8, "val": 8, "novel_support": 5, "novel_query": 5},
}
DIGESTS = json.loads((Path(__file__).parent / "digests.json").read_text(encoding="utf-8"))
LONGEST_SIDE = 64  # pixels, of the images as the network sees them
REGIONS = 12


def header(name: str) -> list[str]:
    """The comment that a file begins with, line by line; a backslash joins two."""
    lines = (ROOT / name).read_text(encoding="utf-8").split("\n")
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    comment = "\n".join(line.lstrip("# ").rstrip() for line in lines[:end])
    return comment.replace("\\\n", "").split("\n")


def digest(cfg: Config) -> str:
    """What tells two configurations apart, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(cfg.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


def test_there_are_experiments() -> None:
    assert len(DETECTION) >= 11 and "experiments/detection/demo.yaml" in DETECTION


@pytest.mark.parametrize("name", SHIPPED)
def test_it_loads_as_it_was_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPMET_DATA", raising=False)
    cfg = load_experiment(ROOT / name)
    assert cfg.tree in Path(name).parts, "an experiment lies in the folder of its tree"
    if cfg.tree == "classification":  # detection inherits what the installed mmdet brings
        assert digest(cfg) == DIGESTS.get(name), (
            f"{name} is not the configuration that its figures are of: measure it anew, and put {digest(cfg)} into "
            "digests.json"
        )


@pytest.mark.parametrize("file", FILES)
def test_the_header_gives_the_commands_of_its_own_experiments(file: str) -> None:
    lines = header(file)
    assert any(line.startswith("Result") for line in lines), "the result to expect, or that it was not measured"
    commands = [line for line in lines if line.startswith("python -m ")]
    tree = next(tree for tree in ("classification", "detection") if tree in Path(file).parts)
    names = [name for name in SHIPPED if split_address(name)[0].as_posix() == file]
    measure = "retrieve" if Path(file).stem in ("retrieval", "nivmf") else "evaluate"
    complete = [
        name
        for name in names
        if f"python -m {tree}.train {name}" in commands
        and (
            f"python -m {tree}.{measure} {name} work_dirs/{experiment_name(name)}"
            in [command.removesuffix(" --finetune") for command in commands]
            or name in ON_MANY_SETS  # measured on other data than its own
        )
    ]
    assert complete
    assert not [c for c in commands if "experiments/" in c and not {*c.split()} & {*names}], "commands of others"


def test_every_kept_run_is_of_an_experiment_that_there_is() -> None:
    kept = {run.experiment for run in read_runs(ROOT / RESULTS) if run.experiment}
    assert kept and kept <= {experiment_name(name) for name in SHIPPED}


@pytest.mark.parametrize("name", ON_ONE_SET)
def test_the_years_that_the_header_downloads_are_those_that_are_read(name: str) -> None:
    data = load_experiment(ROOT / name).data
    lists = [data.get(key) or "" for key in ("train", "base_test", "support", "query")]
    read = {year for image_set in lists for year in re.findall(r"\b(20\d\d)_", image_set)}
    fetched = [re.findall(r"\b20\d\d\b", line) for line in header(name) if line.startswith("python -m data.sources.voc ")]
    assert {year for years in fetched for year in years} == read


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("scenes") / "glyphs", **SCENES)


def write_devkit(folder: Path, scenes: Path, base: tuple[str, ...], novel: tuple[str, ...]) -> None:
    """The scenes as a devkit of other class names: `trainval` and `train` with supports, `test` with queries."""
    main = folder / "ImageSets" / "Main"
    (folder / "Annotations").mkdir(parents=True)
    main.mkdir(parents=True)
    (folder / "JPEGImages").symlink_to(scenes / "JPEGImages")

    def renamed(match: re.Match) -> str:
        names = base if match[1] == "base" else novel
        return f"<name>{names[int(match[2]) % len(names)]}</name>"

    kinds = {"trainval": ["train", "novel_support"], "train": ["train", "novel_support"], "test": ["val", "novel_query"]}
    for image_set, parts in kinds.items():
        parts = [part for part in parts if novel or "novel" not in part]
        ids = [i for p in parts for i in (scenes / "ImageSets" / "Main" / f"{p}.txt").read_text().split()]
        (main / f"{image_set}.txt").write_text("\n".join(ids) + "\n")
        for image in ids:
            text = (scenes / "Annotations" / f"{image}.xml").read_text()
            text = re.sub(r"<name>(base|novel)_(\d+)</name>", renamed, text)
            (folder / "Annotations" / f"{image}.xml").write_text(text)
    (folder / "classes_base.txt").write_text("\n".join(base) + "\n")
    (folder / "classes_novel.txt").write_text("\n".join(novel) + "\n")


def one_scene_each(scenes: Path, classes: tuple[str, ...]) -> list[tuple[str, ImageRecord]]:
    """For sets of many classes: every class and a scene in which all objects are of it; the scenes come again."""
    records = read_image_set(scenes, "train")
    return [(name, records[k % len(records)]) for k, name in enumerate(classes)]


def write_imagenet(root: Path, scenes: Path, classes: tuple[str, ...]) -> None:
    """ILSVRC's tree with a training image for every class."""
    for name, record in one_scene_each(scenes, classes):
        xml, pictures = root / "Annotations/CLS-LOC/train" / name, root / "Data/CLS-LOC/train" / name
        xml.mkdir(parents=True)
        pictures.mkdir(parents=True)
        text = (scenes / "Annotations" / f"{record.id}.xml").read_text()
        (xml / f"{name}_1.xml").write_text(re.sub(r"<name>\w+</name>", f"<name>{name}</name>", text))
        (pictures / f"{name}_1.JPEG").symlink_to(record.path)


def write_coco(root: Path, scenes: Path, base: tuple[str, ...], novel: tuple[str, ...]) -> None:
    """COCO's tree with an image for every base class, in which one of the objects is of a novel class."""
    (root / "annotations").mkdir(parents=True)
    numbers = {name: k for k, name in enumerate((*base, *novel), start=1)}
    for part in ("train2017", "val2017"):
        content: dict[str, list] = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [{"id": k, "name": name} for name, k in numbers.items()]
        (root / part).mkdir()
        for k, (name, r) in enumerate(one_scene_each(scenes, base)):
            (root / part / f"{k:012d}.jpg").symlink_to(r.path)
            content["images"].append({"id": k, "file_name": f"{k:012d}.jpg", "width": r.width, "height": r.height})
            for i, (x1, y1, x2, y2) in enumerate(r.boxes.tolist()):
                label = novel[k % len(novel)] if i == len(r.boxes) - 1 and i else name
                box = {"image_id": k, "category_id": numbers[label], "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
                content["annotations"].append(box | {"id": len(content["annotations"]), "segmentation": [[x1, y1, x2, y2]]})
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


def tiny_data(name: str, scenes: Path, home: Path) -> dict[str, Any]:
    """Lays out what the experiment reads below `home`, its REPMET_DATA; returns the options that lead there."""
    data = load_experiment(ROOT / name).data
    if data.get("glyph_scenes") is not None:
        return {"data.root": str(scenes), "data.glyph_scenes": SCENES}
    if data.base_classes == "classes_base.txt":  # lists that lie with the images
        base, novel = (read_class_list(f"classes_{kind}.txt", scenes) for kind in ("base", "novel"))
    else:
        base, novel = read_class_list(data.base_classes), read_class_list(data.novel_classes)
    root = Path(data.root)
    if root.name == "VOCdevkit":
        root = home / "VOCdevkit"
        write_devkit(root / "VOC2007", scenes, base, novel)
        (root / "VOC2012").symlink_to(root / "VOC2007")
        return {"data.root": str(root)}
    assert home in root.parents, "the folder follows REPMET_DATA"
    if root.name == "ILSVRC":
        write_imagenet(root, scenes, base)
        return {}
    if root.name == "coco":
        write_coco(root, scenes, base, novel)
        return {}
    write_devkit(root, scenes, base, novel)
    return {}


def pretrained(node: Any, key: str) -> Iterator[str]:
    """The keys of all `init_cfg` that name weights to start from."""
    if isinstance(node, dict):
        for child, value in node.items():
            if child == "init_cfg" and isinstance(value, dict) and value.get("type") == "Pretrained":
                yield f"{key}.{child}"
            else:
                yield from pretrained(value, f"{key}.{child}")


def shrunk(cfg: Config) -> dict[str, Any]:
    """Options that make any of our detectors a matter of a second; the model's parts stay what they are."""
    options: dict[str, Any] = dict.fromkeys(pretrained(cfg.model.to_dict(), "model"))
    for pipeline in ("train_pipeline", "test_pipeline"):
        for i, transform in enumerate(cfg[pipeline]):
            small = (LONGEST_SIDE, LONGEST_SIDE)
            if transform["type"] in ("Resize", "RandomResize"):
                options[f"{pipeline}.{i}.scale"] = small if transform["type"] == "Resize" else [small, small]
    few = {"nms_pre": 50, "max_per_img": REGIONS}
    for section, values in (("train_cfg.rpn_proposal", few), ("test_cfg.rpn", few), ("test_cfg.rcnn", {"max_per_img": 10})):
        options |= {f"model.{section}.{key}": value for key, value in values.items()}
    return options | {
        "model.train_cfg.rcnn.sampler.num": REGIONS,
        "model.test_cfg.rcnn.score_thr": 0.0,  # after two iterations nothing is sure
        "train_cfg.max_epochs": 1,
        "train_dataloader.batch_size": 1,
        "train_dataloader.num_workers": 0,
        "train_dataloader.num_batch_per_epoch": 2,
        "default_hooks.checkpoint.interval": -1,
        "default_hooks.checkpoint.save_last": False,  # ResNet-101's are large, and other tests look at checkpoints
        "default_hooks.logger.interval": 1,
    }


@pytest.mark.parametrize("name", ON_IMAGES)
def test_it_trains_and_predicts(name: str, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPMET_DATA", str(tmp_path / "home"))
    options = tiny_data(name, scenes, tmp_path / "home") | shrunk(load_experiment(ROOT / name))
    cfg = load_experiment(ROOT / name, options)
    data, classes = cfg.data, read_class_list(cfg.data.base_classes, cfg.data.root)
    runner = build_runner(cfg, work_dir=tmp_path / "run")
    head = runner.model.roi_head.bbox_head
    assert head.num_classes == len(classes)
    before = {key: value.clone() for key, value in head.state_dict().items()}

    runner.train()

    assert runner.iter == 2
    losses = {key: log.data[0] for key, log in runner.message_hub.log_scalars.items() if "loss" in key}
    assert len(losses) >= 4 and {"train/loss", "train/loss_rpn_cls", "train/loss_rpn_bbox"} <= losses.keys()
    for key, values in losses.items():
        assert len(values) == 2 and all(math.isfinite(v) for v in values), f"{key}: {values}"
    after = head.state_dict()
    assert all(torch.isfinite(v).all() for v in after.values())
    assert any(not torch.equal(before[key], after[key]) for key in before), "the box head has not moved"
    seen = runner.train_dataloader.dataset.records
    if Path(data.root).name in ("ILSVRC", "coco"):
        assert len(seen) == len(classes)
    else:
        images = SCENES["counts"]["train"] * (data.train.count("+") + 1)
        assert len(seen) == images, "images with novel objects are left out"

    with DefaultScope.overwrite_default_scope("mmdet"):
        pipeline = Compose(cfg.test_pipeline)
    images = read_images(data.root, data.base_test or data.train)[:2]
    batch = pseudo_collate([pipeline({"img_id": image.id, "img_path": str(image.path)}) for image in images])
    assert max(batch["inputs"][0].shape) == LONGEST_SIDE
    with torch.inference_mode():
        predictions = [sample.pred_instances for sample in runner.model.eval().test_step(batch)]
    assert len(predictions) == 2
    for image, instances in zip(images, predictions, strict=True):
        n = len(instances)
        assert 0 < n <= 10
        assert instances.bboxes.shape == (n, 4) and instances.scores.shape == instances.labels.shape == (n,)
        assert instances.labels.min() >= 0 and instances.labels.max() < len(classes)
        assert instances.scores.min() >= 0 and instances.scores.max() <= 1
        assert instances.bboxes.min() >= 0 and instances.bboxes.max() <= max(image.width, image.height) + 1e-3
