"""Prototypes as methods: what guidance adds, what fixed ones are, what running means count, what is refused."""

import pytest
import torch
import torch.nn.functional as F

from repmet.classification.inputs.costs import read_costs
from repmet.model_definitions.losses.distortion import DistortionLoss
from repmet.model_definitions.prototypes import embed_costs
from tests.classification.methods.test_cost_sensitive import CLASSES, METHODS, TREE, build

D = read_costs(TREE, CLASSES).D


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


def test_hyperspherical_prototypes_are_trained_by_their_own_loss():
    method = build("hyperspherical")
    x, y = torch.rand(6, 1, 8, 8), torch.arange(6)
    loss = method(x, y, y, mode="loss")["loss"]
    cosines = F.cosine_similarity(method.embed(x), method.classifier.prototypes[y])
    torch.testing.assert_close(loss, (1 - cosines).square().mean(), rtol=1e-4, atol=1e-5)


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
    ],
)
def test_what_is_refused(section, message):
    with pytest.raises(ValueError, match=message):
        build("", **section)
