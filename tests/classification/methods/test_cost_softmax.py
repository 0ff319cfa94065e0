"""Linear classifiers that know the costs: what they are trained by, and what is refused."""

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.losses.soft_labels import SoftLabelLoss
from tests.classification.methods.test_cost_sensitive import METHODS, build

Y = torch.arange(6)


def test_a_hierarchical_softmax_is_trained_by_the_log_probability_of_the_leaf():
    method = build("hierarchical")
    scores = method.scores(method.embed(torch.rand(6, 1, 8, 8)))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(6))
    torch.testing.assert_close(method.data_loss(scores, Y), -scores[Y, Y].mean())


def test_soft_labels_are_of_the_costs_of_the_section():
    method = build("soft")
    D = (torch.arange(10)[:, None] - torch.arange(10)).abs().float()
    x = torch.rand(6, 1, 8, 8)
    loss = method(x, Y, Y, mode="loss")["loss"]
    scores = method.classifier(method.embed(x))
    torch.testing.assert_close(loss, SoftLabelLoss(D, beta=4)(scores, Y))
    target = (-4 * D / 9).softmax(1)[Y]
    torch.testing.assert_close(loss, F.kl_div(scores.log_softmax(1), target, reduction="batchmean"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "HierarchicalClassifier", "costs": {"numbers": True}}, "HierarchicalClassifier needs a tree"),
        ({**METHODS["hxe"], "costs": {"numbers": True}}, "the hierarchical cross-entropy needs a tree"),
        ({"type": "CostSoftmax", "criterion": {"name": "hxe"}}, "one of hierarchical, soft_labels, squared_emd, not 'hxe'"),
        ({"type": "CostSoftmax", "criterion": {"name": "soft_labels"}}, "model.costs is not given: Soft labels needs it"),
    ],
)
def test_what_is_refused(section, message):
    with pytest.raises(ValueError, match=message):
        build("", **section)
