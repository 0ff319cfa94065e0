"""What the evaluate command refuses, and that classes are matched by name."""

import json
from pathlib import Path

import torch
from PIL import Image

from repmet.experiments.running.checkpoints import load_checkpoint
from tests.classification.conftest import CLOSED
from tests.classification.evaluating import command, failure, measured
from tests.classification.test_train import FOLDER, train


def test_classes_are_known_by_their_names_and_never_by_their_order(experiment, tmp_path, capsys):
    """`a`, that is called `z` in other images of the same classes, moves the labels of `b` and `c`."""
    for name, classes in (("trained_on", "abc"), ("renamed", "zbc"), ("fewer", "bc")):
        for place, label in enumerate("abc"[-len(classes) :]):
            for i in range(8):
                path = tmp_path / name / classes[place] / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (9, 9), tuple(200 if k == "abc".index(label) else i for k in range(3))).save(path)
    path = experiment(CLOSED, over=FOLDER)
    one_epoch = ("--cfg-options", "train_cfg.max_epochs=1")
    assert train(path, "--work-dir", tmp_path / "run", "--data", tmp_path / "trained_on", *one_epoch) == 0
    assert load_checkpoint(tmp_path / "run" / "best.pth")["meta"]["experiment"]["classes"] == ["a", "b", "c"]
    said = failure(capsys, path, tmp_path / "run", "--data", tmp_path / "renamed")
    assert "data.test has z, and " in said and "best.pth was trained on a" in said
    said = failure(capsys, path, tmp_path / "run", "--data", tmp_path / "fewer")
    assert "best.pth: " in said and "belongs to another experiment (other classes or sizes)" in said
    resumed = ("--data", tmp_path / "renamed", "--resume", tmp_path / "run" / "epoch_1.pth")
    assert train(path, "--work-dir", tmp_path / "other", *resumed, "--cfg-options", "train_cfg.max_epochs=2") == 2
    assert "was trained on other classes than the data have now (a, z)" in capsys.readouterr().err
    assert command(path, tmp_path / "run", "--data", tmp_path / "trained_on", "--out", tmp_path / "out") == 0
    # the names of the data are what is typed, whatever YAML would make of it
    (tmp_path / "trained_on").rename(tmp_path / "photos #1")
    assert command(path, tmp_path / "run", "--data", tmp_path / "photos #1", "--out", tmp_path / "again") == 0
    rows = [json.loads((tmp_path / out / "metrics.json").read_text())["results"] for out in ("out", "again")]
    assert rows[0] == rows[1]


def test_a_checkpoint_or_experiment_of_the_other_tree_is_named_as_such(protonet, tmp_path, capsys):
    path, folder = protonet
    content = load_checkpoint(folder / "best.pth")
    content["meta"]["experiment"] = {"tree": "detection", "yaml": "tree: detection", "base_classes": ["a"]}
    torch.save(content, tmp_path / "detector.pth")
    said = failure(capsys, path, tmp_path / "detector.pth")
    assert "detector.pth: was trained by an experiment of the detection tree, it is no classifier" in said
    demo = Path(__file__).parents[2] / "experiments/detection/demo.yaml"
    assert "an experiment of the detection tree; run python -m detection.evaluate" in failure(capsys, demo, folder)


def test_what_is_refused(protonet, experiment, tmp_path, capsys):
    path, folder = protonet
    closed = experiment(CLOSED, name="closed.yaml")
    best = folder / "best.pth"
    assert "best.pth: holds a ProtoNet, and the experiment is of a RepMet" in failure(capsys, closed, best)
    assert "13-way episodes need 13 classes, the set has 12" in failure(capsys, path, best, "--way", 13)
    assert "fewer than 6 support + 4 query images" in failure(capsys, path, best, "--shot", 6)
    assert "no such checkpoint" in failure(capsys, path, tmp_path / "none.pth")
    assert "a run folder without a checkpoint" in failure(capsys, path, tmp_path)
    assert "none.yaml: no such experiment file" in failure(capsys, tmp_path / "none.yaml", best)
    assert "cannot be downloaded" in failure(capsys, path, "http://127.0.0.1:9/best.pth")
    text = best.read_bytes()
    (tmp_path / "cut.pth").write_bytes(text[: len(text) // 2])
    assert "cut.pth: damaged" in failure(capsys, path, tmp_path / "cut.pth")
    bare = {"state_dict": load_checkpoint(best)["state_dict"]}
    torch.save(bare, tmp_path / "bare.pth")
    assert measured(path, tmp_path / "bare.pth", tmp_path / "a")["results"]  # weights alone are enough
    wide = ("--cfg-options", "model.encoder.width=16")
    assert "belongs to another experiment" in failure(capsys, path, tmp_path / "bare.pth", *wide)
    for seed in (1, 2):
        one_epoch = ("--cfg-options", "train_cfg.max_epochs=1", "--seed", seed)
        assert train(closed, "--work-dir", tmp_path / f"b{seed}", *one_epoch) == 0
    said = failure(capsys, closed, tmp_path / "b1", "--against", tmp_path / "b2")
    assert "drew their splits by the seeds 1 and 2: what one was trained on, the other would be tested on" in said
    none = ("--cfg-options", "episodes=null")
    assert "nothing to evaluate" in failure(capsys, path, best, *none)
