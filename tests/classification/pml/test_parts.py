"""Every part of the installed package from a section of a YAML file, for two iterations; unknown names and arguments."""

import importlib
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from repmet.classification.methods import MetricLearning
from repmet.classification.pml.parts import KINDS, build, check, parts
from repmet.experiments.config.strictness import UnknownKey

CLASSES, DIM = 4, 8
LABELS = torch.arange(CLASSES).repeat_interleave(4)
SIZES = {"num_classes": CLASSES, "embedding_size": DIM, "descriptors_dim": DIM}
TRIPLET = {"type": "TripletMarginLoss"}
COSTS = [[abs(i - j) for j in range(CLASSES)] for i in range(CLASSES)]
# What a part needs beyond its own defaults.
ARGUMENTS = {
    "CrossBatchMemory": {"loss": {"type": "ContrastiveLoss"}, "memory_size": 32},
    "MultipleLosses": {"losses": [TRIPLET, {"type": "ContrastiveLoss"}], "weights": [1.0, 0.5]},
    "SelfSupervisedLoss": {"loss": {"type": "NTXentLoss"}},
    "RankedListLoss": {"margin": 0.4, "Tn": 10},
    "HistogramLoss": {"n_bins": 11},
    "ManifoldLoss": {"l": DIM, "K": 3},
    "ClassWeightedReducer": {"weights": [1.0, 2.0, 0.5, 1.0]},
    "ThresholdReducer": {"low": 0.0},
    "MultipleReducers": {"reducers": {"loss": {"type": "SumReducer"}}, "default_reducer": {"type": "MeanReducer"}},
    "SparseCentersRegularizer": {"num_classes": CLASSES, "centers_per_class": 2},
    "DistortionRegularizer": {"D": COSTS},
    "RankRegularizer": {"D": COSTS, "n_triplets": 20},
    "BatchedDistance": {"distance": {"type": "LpDistance"}},
    "ProbabilisticProxyLoss": {"guidance_weight": 0.3, "temperature": 0.5},
}


def check_and_build(section, key):
    """As a YAML is read: checked with its prefix, then built."""
    section = section | {"type": f"pml.{section['type']}"}
    check(section, ("model", key))
    return build(section, key, SIZES)


def method_loss(criterion, miner, embeddings):
    """What the method does with any loss."""
    return MetricLearning.loss(SimpleNamespace(criterion=criterion, miner=miner), embeddings, LABELS, None)["loss"]


def two_iterations(criterion, miner=None):
    """Trains a linear embedding; returns its losses."""
    torch.manual_seed(0)
    network, inputs = nn.Linear(12, DIM), torch.randn(len(LABELS), 12) + 2 * torch.eye(12)[LABELS]
    optimizer = torch.optim.SGD([*network.parameters(), *criterion.parameters()], lr=0.01)
    losses = []
    for _ in range(2):
        embeddings = network(inputs)
        loss = method_loss(criterion, miner, embeddings)
        if isinstance(loss, dict):  # of DoNothingReducer
            loss = sum(part["losses"].mean() for part in loss.values())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
        optimizer.step()
        losses.append(loss.item())
    assert all(math.isfinite(loss) for loss in losses)
    return losses


def names(kind: str) -> list[str]:
    return sorted(parts(kind))


def test_nothing_of_the_package_is_left_out():
    pml = importlib.import_module("pytorch_metric_learning.losses")
    usable = {n for n in vars(pml) if n.endswith("Loss") and isinstance(getattr(pml, n), type)}
    assert usable - set(names("losses")) == set() and {"MultipleLosses", "CrossBatchMemory"} <= set(names("losses"))
    assert {"ProbabilisticProxyLoss", "RepMetLoss", "MagnetLoss", "PrototypicalLoss"} <= set(names("losses"))
    assert {len(names(k)) > 3 for k in set(KINDS.values())} == {True}


@pytest.mark.parametrize("name", [name for name in names("losses") if name != "GenericPairLoss"])  # a base class
def test_losses(name):
    two_iterations(check_and_build({"type": name} | ARGUMENTS.get(name, {}), "loss"))


@pytest.mark.parametrize("name", names("distances"))
def test_distances(name):
    distance = {"type": name} | ARGUMENTS.get(name, {})
    if name == "BatchedDistance":  # hands blocks to a function: not for losses
        assert check_and_build(distance, "distance").distance.p == 2
        return
    two_iterations(check_and_build({"type": "ContrastiveLoss", "distance": distance} | _margins(name), "loss"))


def _margins(name: str) -> dict:
    return {"pos_margin": 1, "neg_margin": 0} if "Similarity" in name else {}


@pytest.mark.parametrize("name", names("reducers"))
def test_reducers(name):
    section = {"type": "TripletMarginLoss", "margin": 3.0, "reducer": {"type": name} | ARGUMENTS.get(name, {})}
    if name == "PerAnchorReducer":  # of pairs
        section = {"type": "ContrastiveLoss", "reducer": {"type": name}}
    if name == "DivisorReducer":  # of losses that give a divisor
        section = {"type": "ProxyAnchorLoss", "reducer": {"type": name}}
    two_iterations(check_and_build(section, "loss"))


@pytest.mark.parametrize("name", names("regularizers"))
def test_regularizers(name):
    part = {"type": name} | ARGUMENTS.get(name, {})
    if name == "SparseCentersRegularizer":
        section = {"type": "SoftTripleLoss", "centers_per_class": 2, "weight_regularizer": part}
    elif name in ("CenterInvariantRegularizer", "RegularFaceRegularizer", "DistortionRegularizer", "RankRegularizer"):
        section = {"type": "ProxyAnchorLoss", "weight_regularizer": part, "weight_reg_weight": 0.1}
    else:
        section = {"type": "TripletMarginLoss", "embedding_regularizer": part}
    two_iterations(check_and_build(section, "loss"))


@pytest.mark.parametrize("name", names("miners"))
def test_miners(name):
    if name == "EmbeddingsAlreadyPackagedAsTriplets":
        anchors, positives, negatives = check_and_build({"type": name}, "miner")(torch.randn(9, DIM), torch.arange(9))
        assert len(anchors) == len(positives) == len(negatives) == 3
        return
    two_iterations(build(TRIPLET, "loss"), check_and_build({"type": name}, "miner"))


def test_unknown_names_and_arguments_name_the_nearest():
    for section, said in (
        ({"type": "pml.MultiSimilartyLoss"}, "MultiSimilarityLoss"),
        ({"type": "pml.TripletMarginLoss", "margn": 1}, "margin"),
        ({"type": "pml.TripletMarginLoss", "distance": {"type": "CosinSimilarity"}}, "CosineSimilarity"),
        ({"type": "pml.TripletMarginLoss", "reducer": {"type": "ThresholdReducer", "hig": 1}}, "high"),
        ({"type": "pml.MultipleLosses", "losses": [{"type": "TripletMarginLos"}]}, "TripletMarginLoss"),
    ):
        with pytest.raises(UnknownKey) as caught:
            check(section, ("model", "loss"))
        assert f"did you mean {said!r}?" in caught.value.message([_Anywhere()])
        with pytest.raises(ValueError, match=f"did you mean '{said}'"):
            build(section, "loss", SIZES)
    with pytest.raises(ValueError, match=r"ArcFaceLoss of pytorch-metric-learning's losses: .*num_classes"):
        build({"type": "ArcFaceLoss"}, "loss")


class _Anywhere:
    name, option = "experiment.yaml", None

    def holds(self, where):
        return True
