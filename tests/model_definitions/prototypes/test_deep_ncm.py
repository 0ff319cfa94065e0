"""Running class means against numpy's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from repmet.model_definitions.prototypes import DeepNCM

K, D = 4, 3


def images() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(K).repeat(6)
    return torch.randn(len(labels), D) + labels[:, None], labels


def class_means(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    return np.stack([x[y == c].numpy().mean(0) for c in range(K)])


def test_equal_batches_give_the_means():
    x, y = images()
    module = DeepNCM(None, K, D)
    for xb, yb in zip(x.split(8), y.split(8), strict=True):  # two of each class
        module(xb, labels=yb)
    np.testing.assert_allclose(module.means.numpy(), class_means(x, y), rtol=1e-5)
    assert module.counts.tolist() == [3] * K


@pytest.mark.parametrize("size", [1, 5, 7, 24])
def test_by_samples_any_batches_give_the_means(size):
    x, y = images()
    order = torch.randperm(len(y))
    module = DeepNCM(None, K, D, weighting="sample")
    for part in order.split(size):
        module(x[part], labels=y[part])
    np.testing.assert_allclose(module.means.numpy(), class_means(x, y), rtol=1e-5, atol=1e-6)
    assert module.counts.tolist() == [6] * K


def test_by_batches_every_batch_weighs_the_same():
    module = DeepNCM(None, K, D)
    parts = [torch.randn(1, D), torch.randn(5, D), torch.randn(2, D)]
    for x in parts:
        module(x, labels=torch.full((len(x),), 2))
    torch.testing.assert_close(module.means[2], torch.stack([x.mean(0) for x in parts]).mean(0))
    assert module.counts.tolist() == [0, 0, 3, 0] and not module.means[[0, 1, 3]].any()


def test_decay():
    module = DeepNCM(None, K, D, decay=0.8)
    expected = None
    for _ in range(4):
        x = torch.randn(3, D)
        module(x, labels=torch.tensor([1, 1, 1]))
        expected = x.mean(0) if expected is None else 0.8 * expected + 0.2 * x.mean(0)
    torch.testing.assert_close(module.means[1], expected)


def test_scores_after_the_update_and_gradients_to_the_network_alone():
    module = DeepNCM(nn.Linear(5, D), K, D)
    x, y = torch.randn(8, 5), torch.arange(8) % K
    scores = module(x, labels=y)
    z = module.model(x)
    means = torch.stack([z[y == c].mean(0) for c in range(K)]).detach()
    torch.testing.assert_close(scores, -(torch.cdist(z, means) ** 2), rtol=1e-4, atol=1e-5)
    second = module(x, labels=y)  # two batches before one step backwards
    (F.cross_entropy(scores, y) + F.cross_entropy(second, y)).backward()
    assert not module.means.requires_grad and module.model.weight.grad.abs().sum() > 0
    assert {name for name, _ in module.named_parameters()} == {"model.weight", "model.bias"}


def test_saved_and_left_alone_in_evaluation():
    x, y = images()
    module = DeepNCM(None, K, D)
    module(x, labels=y)
    other = DeepNCM(None, K, D)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.means, module.means) and torch.equal(other.counts, module.counts)
    other.eval()
    torch.testing.assert_close(other(x), -(torch.cdist(x, module.means) ** 2), rtol=1e-4, atol=1e-4)
    assert torch.equal(other.counts, module.counts)


def test_pixels():
    x, y = images()
    flat, dense = DeepNCM(None, K, D, weighting="sample"), DeepNCM(None, K, D, weighting="sample", ignore_index=255)
    kept = y.clone()
    kept[:3] = 255
    scores = dense(x.T.reshape(1, D, 4, 6), labels=kept.reshape(1, 4, 6))
    flat.update(x[3:], y[3:])
    torch.testing.assert_close(dense.means, flat.means)
    assert scores.shape == (1, K, 4, 6)


def test_bad_input():
    module = DeepNCM(None, K, D)
    with pytest.raises(ValueError, match="2 labels are needed, not None"):
        module(torch.zeros(2, D))
    with pytest.raises(ValueError, match=r"labels must lie in 0..3, not 0..4"):
        module(torch.zeros(2, D), labels=torch.tensor([0, 4]))
    with pytest.raises(ValueError, match="not 'image'"):
        DeepNCM(None, K, D, weighting="image")
    with pytest.raises(ValueError, match="decay must lie between 0 and 1, not 1"):
        DeepNCM(None, K, D, decay=1)
