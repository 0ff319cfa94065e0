"""The methods, registered by importing this package: a model of an experiment is one of them over one of the encoders."""

from mmengine.registry import MODELS

from classification.methods.base import Method
from classification.methods.prototypical import ProtoNet
from model_definitions.encoders import Conv4, EmbeddingHead, Inception, LeNet, TorchvisionEncoder

for _module in (Conv4, EmbeddingHead, Inception, LeNet, TorchvisionEncoder):
    MODELS.register_module(module=_module)

__all__ = ["Method", "ProtoNet"]
