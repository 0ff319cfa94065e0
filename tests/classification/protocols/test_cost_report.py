"""What mistakes cost, from a YAML experiment to the figures of its evaluation."""

import json
import warnings

import pytest

from repmet.classification.evaluate import run
from repmet.experiments.config.loading import load_experiment
from tests.classification.conftest import CLOSED
from tests.classification.test_train import train

GUIDED = """
costs: {tree: digits_visual}
model:
  _delete_: true
  type: PrototypeClassifier
  costs: {tree: digits_visual}
  guidance: {name: distortion}
  encoder: {type: LeNet, widths: [4, 8], image_size: 8}
  head: {type: EmbeddingHead, out_channels: 2, normalize: false}
train_dataloader: {batch_size: 30, batch_sampler: null}
train_cfg: {max_epochs: 2}
custom_hooks: [{type: ValidationHook, monitor: classifier_accuracy, unsupervised: false}]
"""


def test_from_yaml_to_the_figures(experiment, tmp_path, capsys):
    path = experiment(CLOSED, over=GUIDED)
    assert train(path, "--work-dir", tmp_path / "run") == 0
    capsys.readouterr()
    report = run(load_experiment(path), str(tmp_path / "run"), tmp_path / "out")
    printed = capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["costs"] == report["costs"]
    rows = {row["metric"]: row for row in report["costs"]}
    assert set(rows) == {"error rate", "average cost", "hierarchical distance of mistakes", "distortion"}
    accuracy = next(r for r in report["results"] if (r["split"], r["metric"]) == ("test", "classifier accuracy"))
    assert rows["error rate"]["mean"] == pytest.approx(1 - accuracy["mean"]) and rows["error rate"]["n"] == 60
    assert 2 * rows["error rate"]["mean"] <= rows["average cost"]["mean"] <= 6 * rows["error rate"]["mean"]
    assert rows["distortion"]["ci95"] is None and rows["average cost"]["method"] == "Guided prototypes"
    assert f"{rows['average cost']['mean']:.3f} ± {rows['average cost']['ci95']:.3f}" in printed


def test_a_tree_without_the_classes_is_refused_before_the_training(experiment, tmp_path, capsys):
    path = experiment(CLOSED, over=GUIDED.replace("costs: {tree: digits_visual}", "costs: {tree: flowers17}", 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert train(path, "--work-dir", tmp_path / "run") == 2
    assert "error: costs.tree flowers17: the tree has no leaf '0'" in capsys.readouterr().err
