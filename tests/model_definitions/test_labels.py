"""A label out of range is a ValueError, whatever takes it; while a model is compiled the question is not asked."""

import pytest
import torch

from repmet.classification.pml.losses import ProbabilisticProxyLoss
from repmet.classification.pml.losses import RepMetLoss as PmlRepMetLoss
from repmet.model_definitions.episode import class_means
from repmet.model_definitions.hierarchy import Hierarchy
from repmet.model_definitions.kmeans import kmeans
from repmet.model_definitions.labels import check_range
from repmet.model_definitions.losses.hierarchical import HierarchicalCrossEntropy
from repmet.model_definitions.losses.hyperspherical import HypersphericalLoss
from repmet.model_definitions.losses.negative_representatives import negative_loss
from repmet.model_definitions.losses.probabilistic_proxies import (
    ProbabilisticProxies,
    binomial_deviance,
    proxy_anchor_loss,
)
from repmet.model_definitions.losses.repmet import LOSSES, RepMetLoss
from repmet.model_definitions.losses.repmet_detection import detection_loss
from repmet.model_definitions.losses.soft_labels import SoftLabelLoss
from repmet.model_definitions.losses.squared_emd import SquaredEMDLoss
from repmet.model_definitions.prototypes import DeepNCM

N, B, E = 3, 4, 5
TREE = Hierarchy({"a": "x", "b": "x", "x": "r", "c": "r"}, ["a", "b", "c"])
COSTS = 1 - torch.eye(N)


def _scores() -> torch.Tensor:
    return torch.randn(B, N)


TAKERS = {
    **{name: lambda labels, name=name: LOSSES[name](torch.rand(B, N, 2), labels) for name in LOSSES},
    "hierarchical": lambda labels: HierarchicalCrossEntropy(TREE)(_scores(), labels),
    "hyperspherical": lambda labels: HypersphericalLoss()(_scores(), labels),
    "soft labels": lambda labels: SoftLabelLoss(COSTS)(_scores(), labels),
    "squared EMD": lambda labels: SquaredEMDLoss(COSTS, 1.0, 0.5)(_scores(), labels),
    "proxy anchor": lambda labels: proxy_anchor_loss(_scores(), labels),
    "binomial deviance": lambda labels: binomial_deviance(_scores(), labels),
    "proxies' start": lambda labels: ProbabilisticProxies(N, E, "cosine").start(torch.randn(B, E), labels),
    "proxies of PML": lambda labels: ProbabilisticProxyLoss(N, E, "cosine")(torch.randn(B, E), labels),
    "some proxies of PML": lambda labels: ProbabilisticProxyLoss(N, E, "cosine", proxy_share=0.5)(torch.randn(B, E), labels),
    "RepMet of PML": lambda labels: PmlRepMetLoss(N, E)(torch.randn(B, E), labels),
    "running means": lambda labels: DeepNCM(None, N, E)(torch.randn(B, E), labels=labels),
    "k-means": lambda labels: kmeans(torch.randn(B, E), labels, N, 2),
    "class means": lambda labels: class_means(torch.randn(B, E), labels, N),
}


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("wrong", [-1, N])
def test_a_label_out_of_range_is_a_value_error(name: str, wrong: int) -> None:
    TAKERS[name](torch.tensor([0, 1, 2, 1]))
    with pytest.raises(ValueError, match=rf"labels must lie in 0\.\.2, not {min(wrong, 0)}\.\.{max(wrong, 2)}"):
        TAKERS[name](torch.tensor([0, 1, 2, wrong]))


@pytest.mark.parametrize("wrong", [-1, N + 1])
def test_background_has_a_label_of_its_own(wrong: int) -> None:
    d2, right, labels = torch.rand(2, N, 2), torch.tensor([0, N]), torch.tensor([0, wrong])
    assert detection_loss(d2, right).shape == negative_loss(d2, right, right).shape == (2,)
    for take in (lambda: detection_loss(d2, labels), lambda: negative_loss(d2, right, labels)):
        with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3"):
            take()


def test_none_is_in_range() -> None:
    check_range(torch.empty(0, dtype=torch.long), 3)


@pytest.mark.parametrize("name", LOSSES)
def test_repmets_losses_compile_as_one_graph_to_the_same_values(name: str) -> None:
    loss = RepMetLoss(name)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    labels, gradients = torch.tensor([0, 1, 2, 1]), []
    values = torch.rand(B, N, 2)
    for function in (loss, compiled):
        d2 = values.clone().requires_grad_()
        result = function(d2, labels)
        gradients.append((result, *torch.autograd.grad(result, d2)))
    torch.testing.assert_close(gradients[0], gradients[1])
