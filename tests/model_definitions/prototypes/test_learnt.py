"""Learnt and fixed prototypes against torch.cdist, limits and loops."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from repmet.model_definitions.losses.distortion import DistortionLoss
from repmet.model_definitions.prototype_distances import pseudo_huber
from repmet.model_definitions.prototypes import HypersphericalPrototypes, LearntPrototypes
from repmet.model_definitions.representatives import Representatives

B, K, D = 6, 5, 4
OPTIONS = ({}, {"squared": True}, {"pseudo_huber": 0.5}, {"distance": "cosine"}, {"normalize": True})


def double(**options) -> tuple[LearntPrototypes, torch.Tensor, torch.Tensor]:
    module = LearntPrototypes(None, n_prototypes=K, embedding_dim=D, **options).double()
    x = torch.randn(B, D, dtype=torch.double)
    return module, x, module.prototypes.detach()


def test_euclidean_logits():
    module, x, P = double()
    torch.testing.assert_close(module(x), -torch.cdist(x, P), rtol=1e-6, atol=1e-6)
    module.squared = True
    torch.testing.assert_close(module(x), -(torch.cdist(x, P) ** 2), rtol=1e-6, atol=1e-6)
    assert P.min() >= 0 and P.max() < 1  # a uniform start


def test_pseudo_huber():
    module, x, P = double(pseudo_huber=0.7, scale=3.0)
    e = torch.cdist(x, P)
    smooth = 0.7 * (((e / 0.7) ** 2 + 1).sqrt() - 1)
    torch.testing.assert_close(module(x), -3 * smooth)
    squared, x, P = double(pseudo_huber=0.7, squared=True)
    torch.testing.assert_close(squared(x), -((0.7 * (((torch.cdist(x, P) / 0.7) ** 2 + 1).sqrt() - 1)) ** 2))
    near, far = torch.tensor(1e-5), torch.tensor(1e4)
    assert pseudo_huber(near**2, 2.0).item() == pytest.approx(1e-10 / 4)
    assert pseudo_huber(far**2, 2.0).item() == pytest.approx(1e4 - 2, rel=1e-6)


def test_cosine():
    module, x, P = double(distance="cosine")
    expected = 1 - F.cosine_similarity(x[:, None], P, dim=-1)
    torch.testing.assert_close(module(x), -expected)
    module.squared = True
    torch.testing.assert_close(module(x), -(expected**2))
    single = LearntPrototypes(None, K, D, prototypes=torch.cat([torch.eye(D), -torch.eye(D)[:1]]), distance="cosine")
    scores = single(10 * torch.eye(D)[:1])
    assert scores.tolist() == [[0, -1, -1, -1, -2]]


def test_normalize_and_scale():
    module, x, P = double(normalize=True, scale=2.0, squared=True)
    torch.testing.assert_close(P.norm(dim=1), torch.ones(K, dtype=torch.double))
    torch.testing.assert_close(module(x), -2 * torch.cdist(F.normalize(x, dim=1), P) ** 2)


@pytest.mark.parametrize("options", OPTIONS)
def test_pixels_are_images(options):
    module, _, _ = double(**options)
    dense = torch.randn(2, D, 3, 5, dtype=torch.double)
    scores = module(dense)
    assert scores.shape == (2, K, 3, 5)
    for i in range(3):
        for j in range(5):
            torch.testing.assert_close(scores[:, :, i, j], module(dense[:, :, i, j]))


@pytest.mark.parametrize("options", OPTIONS)
def test_gradcheck(options):
    module, x, _ = double(**options)
    weight = module.representatives.weight

    def scores(x, w):
        return torch.func.functional_call(module, {"representatives.weight": w}, x)

    assert torch.autograd.gradcheck(scores, (x.requires_grad_(), weight))


def test_an_embedding_on_its_prototype_has_a_finite_gradient():
    module = LearntPrototypes(None, 3, 2)
    x = module.prototypes.detach().clone().requires_grad_()
    module(x).sum().backward()
    assert x.grad.isfinite().all() and module.representatives.weight.grad.isfinite().all()


def test_fixed_prototypes_stay():
    P = torch.randn(K, D)
    module = LearntPrototypes(nn.Linear(3, D), K, D, prototypes=P)
    F.cross_entropy(module(torch.randn(B, 3)), torch.arange(B) % K).backward()
    assert module.representatives.weight.grad is None and not module.prototypes.requires_grad
    torch.testing.assert_close(module.prototypes, P)
    assert all(p.grad is not None for p in module.model.parameters())


def test_the_two_lines_with_any_backbone():
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, D)

        def forward(self, x, shift, *, gain):
            return gain * self.layer(x) + shift

    model = LearntPrototypes(Backbone(), n_prototypes=K, embedding_dim=D)
    assert isinstance(model.representatives, Representatives)
    y = torch.arange(B) % K
    with pytest.warns(UserWarning, match="not symmetric"):
        guidance = DistortionLoss(D=torch.rand(K, K))
    loss = nn.CrossEntropyLoss()(model(torch.randn(B, 3), 0.1, gain=2.0), y) + guidance(model.prototypes)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    other = LearntPrototypes(Backbone(), K, D)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.prototypes, model.prototypes)


def test_hyperspherical_classifier():
    P = torch.randn(K, D)
    module = HypersphericalPrototypes(nn.Linear(3, D), 5 * P)
    x = torch.randn(B, 3)
    cos = F.cosine_similarity(module.model(x)[:, None], P, dim=-1)
    torch.testing.assert_close(module(x), -((1 - cos) ** 2), rtol=1e-4, atol=1e-5)
    assert [n for n, p in module.named_parameters() if p.requires_grad] == ["model.weight", "model.bias"]
    with pytest.raises(ValueError, match="none of length 0"):
        HypersphericalPrototypes(None, torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "euclidian"}, "one of euclidean, cosine, not 'euclidian'"),
        ({"distance": "cosine", "pseudo_huber": 1.0}, "pseudo_huber is a positive Euclidean distance"),
        ({"pseudo_huber": 0}, "pseudo_huber is a positive"),
        ({"scale": 0}, "scale must be positive"),
        ({"prototypes": torch.zeros(2, 2)}, r"fixed prototypes are \(5, 4\), not \(2, 2\)"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        LearntPrototypes(None, K, D, **options)


def test_bad_embeddings():
    module = LearntPrototypes(None, K, D)
    with pytest.raises(ValueError, match="of the same e"):
        module(torch.zeros(2, D + 1))
    with pytest.raises(ValueError, match=r"or one a pixel, \(B, C, H, W\), is expected, not \(2, 3, 4\)"):
        module(torch.zeros(2, 3, 4))
