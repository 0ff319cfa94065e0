"""The methods, registered by importing this package: a model of an experiment is one of them over one of the encoders."""

from mmengine.registry import MODELS

from repmet.classification.methods.base import ClassRepresentatives, Method
from repmet.classification.methods.cost_softmax import CostSoftmax, HierarchicalClassifier
from repmet.classification.methods.magnet import Magnet
from repmet.classification.methods.metric_learning import MetricLearning
from repmet.classification.methods.nearest_class_mean import NearestClassMean
from repmet.classification.methods.neighbourhood_components import NeighbourhoodComponents
from repmet.classification.methods.prototype_classifiers import Hyperspherical, PrototypeClassifier, RunningMeans
from repmet.classification.methods.prototypical import ProtoNet
from repmet.classification.methods.repmet import RepMet
from repmet.classification.methods.softmax import CosineSoftmax, Softmax
from repmet.model_definitions.encoders import (
    BNInception,
    Conv4,
    EmbeddingHead,
    Inception,
    LeNet,
    TimmEncoder,
    TorchvisionEncoder,
)

for _module in (BNInception, Conv4, EmbeddingHead, Inception, LeNet, TimmEncoder, TorchvisionEncoder):
    MODELS.register_module(module=_module)

__all__ = [
    "ClassRepresentatives",
    "CosineSoftmax",
    "CostSoftmax",
    "HierarchicalClassifier",
    "Hyperspherical",
    "Magnet",
    "Method",
    "MetricLearning",
    "NearestClassMean",
    "NeighbourhoodComponents",
    "ProtoNet",
    "PrototypeClassifier",
    "RepMet",
    "RunningMeans",
    "Softmax",
]
