"""The embedding head against the operations that it is made of."""

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.encoders import EmbeddingHead


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_two_layers_are_their_operations(batch_norm, normalize):
    head = EmbeddingHead(6, 4, hidden=5, batch_norm=batch_norm, normalize=normalize)
    x = torch.randn(7, 6)
    first, last = head.layers[0], head.layers[-1]
    hidden = x @ first.weight.T + (0 if batch_norm else first.bias)
    if batch_norm:
        assert first.bias is None
        hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    expected = hidden.clamp(min=0) @ last.weight.T + last.bias
    if normalize:
        expected = expected / expected.square().sum(-1, keepdim=True).sqrt()
    torch.testing.assert_close(head(x), expected)
    assert head.out_channels == 4


def test_one_layer():
    head = EmbeddingHead(6, 4, normalize=False)
    x = torch.randn(3, 6)
    torch.testing.assert_close(head(x), F.linear(x, head.layers[0].weight, head.layers[0].bias))
    assert len(head.layers) == 1


def test_embeddings_are_unit_vectors_also_of_one_image():
    head = EmbeddingHead(6, 4).eval()
    torch.testing.assert_close(head(torch.randn(1, 6)).norm(dim=-1), torch.ones(1))
    assert head(torch.zeros(1, 6)).isfinite().all()


def test_repmets_head():
    head = EmbeddingHead(2048, 1024, hidden=2048)
    assert [tuple(p.shape) for p in head.parameters()] == [(2048, 2048), (2048,), (2048,), (1024, 2048), (1024,)]


@pytest.mark.parametrize(("sizes", "message"), [((0, 4), "0 -> 4"), ((4, 0), "4 -> 0"), ((4, 4, 0), "4 -> 0 -> 4")])
def test_sizes_below_one(sizes, message):
    with pytest.raises(ValueError, match=f"sizes >= 1, not {message}"):
        EmbeddingHead(*sizes)
