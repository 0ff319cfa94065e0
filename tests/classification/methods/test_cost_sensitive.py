"""The methods that know what mistakes cost: what they minimise, what they need, and a training of each from YAML."""

import json
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

import classification.methods  # noqa: F401
from classification.costs import read_costs
from classification.evaluate import run
from experiments.config import load_experiment
from model_definitions.losses.distortion import DistortionLoss
from model_definitions.prototypes import embed_costs
from tests.classification.conftest import CLOSED
from tests.classification.test_train import train

CLASSES = [str(i) for i in range(10)]
TREE = {"tree": "digits_visual"}
D = read_costs(TREE, CLASSES).D
METHODS = {
    "free": {"type": "PrototypeClassifier"},
    "guided": {"type": "PrototypeClassifier", "costs": TREE, "guidance": {"name": "distortion", "weight": 0.5}},
    "ranked": {"type": "PrototypeClassifier", "costs": TREE, "guidance": {"name": "rank", "n_triplets": 50}},
    "fixed": {"type": "PrototypeClassifier", "costs": TREE, "fixed": True},
    "cosine": {"type": "PrototypeClassifier", "prototypes": {"distance": "cosine", "scale": 5.0}},
    "hyperspherical": {"type": "Hyperspherical", "costs": TREE, "embedding": {"max_steps": 20}},
    "deep_ncm": {"type": "RunningMeans", "weighting": "sample"},
    "hierarchical": {"type": "HierarchicalClassifier", "costs": TREE},
    "hxe": {"type": "CostSoftmax", "costs": TREE, "criterion": {"name": "hierarchical", "alpha": 0.2}},
    "soft": {"type": "CostSoftmax", "costs": {"numbers": True}, "criterion": {"name": "soft_labels", "beta": 4}},
    "emd": {"type": "CostSoftmax", "costs": TREE, "criterion": {"name": "squared_emd", "weight": 0.1, "mu": 1.0}},
}
ENCODER = {"type": "LeNet", "widths": [4, 8], "image_size": 8}
HEAD = {"type": "EmbeddingHead", "out_channels": 6, "hidden": 16, "normalize": False}


def build(name: str, **over):
    return MODELS.build({"encoder": ENCODER, "head": HEAD, "classes": CLASSES} | METHODS.get(name, {}) | over)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_falls_and_the_highest_score_decides(name):
    method = build(name)
    x, y = torch.rand(20, 1, 8, 8) + torch.arange(20)[:, None, None, None] % 10 / 10, torch.arange(20) % 10
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    values = []
    for _ in range(15):
        losses = method(x, y, torch.arange(20), mode="loss")
        total = sum(value for key, value in losses.items() if "loss" in key)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < values[0]
    method.eval()
    embeddings = method(x, mode="tensor")
    assert torch.equal(method.predict(embeddings), method.scores(embeddings).argmax(-1))
    assert torch.equal(method.other_rules(embeddings)["classifier"], method(x, mode="predict"))
    own = method.class_representatives()
    assert (own is None) == (name in ("hierarchical", "hxe", "soft", "emd"))
    if own is not None:
        assert own.points.shape == (10, 1, 6) and not own.points.requires_grad


def test_guidance_is_added_with_its_weight():
    method = build("guided")
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6)
    losses = method(x, y, y, mode="loss")
    P = method.classifier.prototypes
    torch.testing.assert_close(losses["loss_guidance"], 0.5 * DistortionLoss(D)(P))
    torch.testing.assert_close(losses["loss"], F.cross_entropy(-torch.cdist(method.embed(x), P), y), rtol=1e-4, atol=1e-4)


def test_fixed_prototypes_are_those_of_the_costs():
    method = build("fixed")
    torch.testing.assert_close(method.classifier.prototypes, embed_costs(D, 6).prototypes)
    assert not any(p.requires_grad for p in method.classifier.parameters())


def test_running_means_count_a_batch_once():
    method = build("deep_ncm")
    method(torch.rand(6, 1, 8, 8), torch.tensor([0, 0, 0, 1, 1, 2]), torch.arange(6), mode="loss")
    assert method.classifier.counts.tolist() == [3, 2, 1, *[0] * 7]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "PrototypeClassifier", "fixed": True}, "model.costs is not given: fixed prototypes needs it"),
        ({"type": "PrototypeClassifier", "guidance": {"weight": 1}}, "model.costs is not given: guidance needs it"),
        ({**METHODS["guided"], "fixed": True}, "fixed prototypes cannot be guided"),
        ({**METHODS["guided"], "guidance": {"name": "distorsion"}}, "one of distortion, rank, not 'distorsion'"),
        ({**METHODS["guided"], "guidance": {"wait": 1}}, "model.guidance has no 'wait'; it has distance, scale_free"),
        ({"type": "PrototypeClassifier", "prototypes": {"squarred": True}}, "model.prototypes has no 'squarred'"),
        ({"type": "HierarchicalClassifier", "costs": {"numbers": True}}, "HierarchicalClassifier needs a tree"),
        ({**METHODS["hxe"], "costs": {"numbers": True}}, "the hierarchical cross-entropy needs a tree"),
        ({"type": "CostSoftmax", "criterion": {"name": "hxe"}}, "one of hierarchical, soft_labels, squared_emd, not 'hxe'"),
        ({"type": "CostSoftmax", "criterion": {"name": "soft_labels"}}, "model.costs is not given: Soft labels needs it"),
    ],
)
def test_what_is_refused(section, message):
    with pytest.raises(ValueError, match=message):
        build("", **section)


def test_costs_of_a_section(tmp_path):
    costs = read_costs({"numbers": True}, ["3", "1", "10"])
    assert costs.D.tolist() == [[0, 2, 7], [2, 0, 9], [7, 9, 0]] and costs.hierarchy is None
    assert D[1, 7] == 2 and D[2, 3] == 6
    for section, message in (
        ({}, "costs is one of tree, numbers, not empty"),
        ({"tree": "x", "numbers": True}, "not tree, numbers"),
        ({"numbers": True, "other": 1}, "not numbers, other"),
    ):
        with pytest.raises(ValueError, match=message):
            read_costs(section, CLASSES)
    with pytest.raises(ValueError, match=r"the classes are no numbers: .*'owl'"):
        read_costs({"numbers": True}, ["1", "owl"])
    with pytest.raises(ValueError, match=r"costs\.tree digits_visual: the tree has no leaf '10'"):
        read_costs(TREE, [*CLASSES, "10"])


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
    found = run(load_experiment(path), str(tmp_path / "run"), tmp_path / "out")
    printed = capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["costs"] == found["costs"]
    rows = {row["metric"]: row for row in found["costs"]}
    assert set(rows) == {"error rate", "average cost", "hierarchical distance of mistakes", "distortion"}
    accuracy = next(r for r in found["results"] if (r["split"], r["metric"]) == ("test", "classifier accuracy"))
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
