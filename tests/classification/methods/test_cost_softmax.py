"""Linear classifiers that know the costs: what they are trained by, and what is refused."""

import pytest
import torch

from tests.classification.methods.test_cost_sensitive import METHODS, build

Y = torch.arange(6)


def test_a_hierarchical_softmax_is_trained_by_the_log_probability_of_the_leaf():
    method = build("hierarchical")
    scores = method.scores(method.embed(torch.rand(6, 1, 8, 8)))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(6))
    torch.testing.assert_close(method.data_loss(scores, Y), -scores[Y, Y].mean())


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
