"""What freezing an encoder means, after any number of calls of `train`."""

import copy

import pytest
import torch
from torch import nn

from repmet.model_definitions.encoders import Conv4, Encoder, LeNet


class Dropping(Encoder):
    """Linear, batch norm, dropout: all that a mode changes."""

    out_channels = 4

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))

    def forward(self, x):
        return self.layers(x)


def one_step(encoder, x):
    """A training step on the encoder and a head, as a training loop does it; returns the encoder's state before it."""
    before = copy.deepcopy(encoder.state_dict())
    model = nn.Sequential(encoder, nn.Linear(encoder.out_channels, 2))
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(x).square().sum().backward()
    optimizer.step()
    return before


def changed(encoder, before):
    return {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}


def test_a_trainable_encoder_changes():
    encoder, x = Dropping(), torch.randn(8, 3)
    names = changed(encoder, one_step(encoder, x))
    assert {"layers.1.running_mean", "layers.1.running_var", "layers.1.weight", "layers.0.weight"} <= names


def test_a_frozen_encoder_does_not():
    encoder, x = Dropping(), torch.randn(8, 3)
    encoder.freeze()
    expected = encoder(x)
    assert not changed(encoder, one_step(encoder, x))
    assert torch.equal(encoder(x), expected), "in train mode too: no dropout, no statistics of the batch"
    assert not encoder(x).requires_grad and not encoder.training


def test_frozen_statistics_leave_the_rest_trainable():
    encoder, x = Dropping(), torch.randn(8, 3)
    encoder.freeze_statistics()
    names = changed(encoder, one_step(encoder, x))
    assert names == {"layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"}
    assert encoder.training and encoder.layers[2].training and not encoder.layers[1].training


def test_eval_mode_stays_when_statistics_are_frozen():
    encoder = Dropping().eval()
    encoder.freeze_statistics()
    assert not any(module.training for module in encoder.modules())


@pytest.mark.parametrize("encoder", [Conv4(1, 4, 28, frozen=True), LeNet(1, (2, 3), 28, frozen=True)])
def test_built_frozen(encoder):
    assert not changed(encoder, one_step(encoder, torch.rand(4, 1, 28, 28)))


def test_a_copy_of_a_frozen_encoder_is_frozen():
    encoder = Dropping()
    encoder.freeze()
    twin = copy.deepcopy(encoder).train()
    assert not any(module.training for module in twin.modules())
