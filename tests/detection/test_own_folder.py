"""A folder of one's own as a benchmark: `--data DIR` for training and evaluation, with nothing to register."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from repmet.data.readers.annotated_folder import class_names, read_images
from repmet.data.sources.voc import read_image_set
from repmet.detection import evaluate, train
from repmet.detection.experiment import own_folder
from repmet.experiments.running.checkpoints import load_checkpoint


def as_coco(records, file: Path) -> None:
    names = class_names(records)
    rows = [(i, n, b) for i, r in enumerate(records) for n, b in zip(r.names, r.boxes.tolist(), strict=True)]
    content = {
        "images": [{"id": i, "file_name": r.path.name, "width": r.width, "height": r.height} for i, r in enumerate(records)],
        "categories": [{"id": c, "name": n} for c, n in enumerate(names)],
        "annotations": [
            {"id": k, "image_id": i, "category_id": names.index(n), "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]]}
            for k, (i, n, b) in enumerate(rows)
        ],
    }
    file.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def novel(glyph_run: Path) -> list:
    """The novel images of the glyph scenes."""
    return read_image_set(glyph_run / "scenes", "novel_support") + read_image_set(glyph_run / "scenes", "novel_query")


@pytest.fixture(scope="module", params=["xml", "coco"])
def folder(request, novel, tmp_path_factory) -> Path:
    """Them in a folder without lists, with XML files or a COCO file."""
    folder = tmp_path_factory.mktemp(request.param)
    for r in novel:
        shutil.copy(r.path, folder)
        if request.param == "xml":
            shutil.copy(r.path.parents[1] / "Annotations" / f"{r.id}.xml", folder)
    if request.param == "coco":
        as_coco(novel, folder / "labels.json")
    return folder


def test_the_detectors_own_classes_are_base_and_the_rest_novel(folder: Path, novel) -> None:
    names = class_names(novel)
    data = {"root": str(folder), "novel_classes": "of_another_set.txt"}
    own_folder(data, trained_on=["something", names[0]])
    assert data["base_classes"] == ["something", names[0]] and data["novel_classes"] == names[1:]
    assert (data["support"], data["query"], data["base_test"]) == ("all", "all", "test")
    own_folder(data | {"held_out": None}, trained_on=["something"])
    data = {"root": str(folder)}
    own_folder(data, trained_on=["something"])
    assert data["base_test"] is None and data["novel_classes"] == names


def test_classes_to_hold_out_are_named_or_counted(folder: Path, novel) -> None:
    names = class_names(novel)
    data = {"root": str(folder)}
    own_folder(data)
    assert data["novel_classes"] == [] and data["base_classes"] == class_names(read_images(folder, "train"))
    data = {"root": str(folder), "held_out": f"{names[2]}, {names[0]}"}
    own_folder(data)
    assert data["novel_classes"] == [names[2], names[0]]
    kept = [r for r in read_images(folder, "train") if not {names[0], names[2]} & set(r.names)]
    assert data["base_classes"] == class_names(kept)
    chosen = []
    for count in range(4):
        data = {"root": str(folder), "held_out": count}
        own_folder(data)
        assert len(data["novel_classes"]) == count
        chosen.append(set(data["novel_classes"]))
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3]  # one more keeps those before
    (folder / "classes_novel.txt").write_text(f"{names[1]}\n")
    data = {"root": str(folder)}
    own_folder(data)
    (folder / "classes_novel.txt").unlink()
    assert data["novel_classes"] == [names[1]]
    for wrong, message in (
        ("cat", "no annotation has 'cat'; classes there"),
        (99, "99 classes to hold out, but 6"),
        (6, "all classes are held out"),
    ):
        with pytest.raises(ValueError, match=message):
            own_folder({"root": str(folder), "held_out": wrong})
    with pytest.raises(ValueError, match="not novel to it"):
        own_folder({"root": str(folder), "held_out": names[0]}, trained_on=names)


def test_episodes_on_it_are_those_of_the_same_images_in_a_devkit(folder: Path, glyph_run: Path, novel, tmp_path) -> None:
    """Evaluated by the two commands' ways: the same figures to the last bit."""
    devkit = tmp_path / "devkit"
    shutil.copytree(glyph_run / "scenes", devkit)
    (devkit / "ImageSets/Main/both.txt").write_text("\n".join(r.id for r in novel))
    checkpoint, options = glyph_run / "epoch_1.pth", ["--shot", "1", "--query", "2", "--episodes", "2", "--out"]
    arguments = [str(glyph_run / "tiny.yaml"), str(checkpoint)]
    lists = ["data.support=both", "data.query=both", "data.base_test=null"]
    assert evaluate.main([*arguments, "--data", str(folder), *options, str(tmp_path / "own")]) == 0
    there = [*arguments, "--data", str(devkit), *options, str(tmp_path / "kit"), "--cfg-options", *lists]
    assert evaluate.main(there) == 0
    first, second = (json.loads((tmp_path / d / "metrics.json").read_text()) for d in ("own", "kit"))
    assert first["base"] is None and len(first["results"]) == 3
    for a, b in zip(first["results"], second["results"], strict=True):
        assert a["protocol"]["episode_hash"] == b["protocol"]["episode_hash"]
        for figure in ("repmet_pooled", "pooled_ap", "class_map", "episode_map", "recall"):
            np.testing.assert_allclose(a[figure], b[figure], atol=1e-6)


def test_train_and_evaluate_with_nothing_registered(folder: Path, glyph_run: Path, tmp_path, capsys) -> None:
    """Two classes are held out; the base ones, and the novel ones of the episodes, follow from the checkpoint."""
    experiment, run = str(glyph_run / "tiny.yaml"), tmp_path / "run"
    held = class_names(read_images(folder))[:2]
    arguments = [experiment, "--data", str(folder), "--novel", ",".join(held), "--work-dir", str(run)]
    assert train.main(arguments) == 0, capsys.readouterr().err
    base = load_checkpoint(run / "epoch_1.pth")["meta"]["experiment"]["base_classes"]
    assert base and not set(base) & set(held)
    options = ["--way", "2", "--shot", "1", "--query", "1", "--episodes", "2", "--out", str(tmp_path / "out")]
    assert evaluate.main([experiment, str(run), "--data", str(folder), *options]) == 0, capsys.readouterr().err
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["base"] is not None and metrics["results"][0]["protocol"]["way"] == 2
    episodes = json.loads((tmp_path / "out/episodes.json").read_text())["episodes"]
    assert all(set(e["classes"]) <= set(class_names(read_images(folder))) - set(base) for e in episodes)


def test_a_folder_without_annotations_is_refused_in_a_line(glyph_run: Path, tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    for command, more in ((train.main, []), (evaluate.main, [str(glyph_run)])):
        assert command([str(glyph_run / "tiny.yaml"), *more, "--data", str(tmp_path / "empty")]) == 2
        said = capsys.readouterr().err
        assert said.count("error: ") == 1 and "neither VOC XML files" in said and "Traceback" not in said
