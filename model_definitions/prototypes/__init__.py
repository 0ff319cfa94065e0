"""Classifiers by one prototype a class, around any network; scores of images, (B, K), or of pixels, (B, K, H, W)."""

from repmet.model_definitions.prototypes.deep_ncm import DeepNCM
from repmet.model_definitions.prototypes.embedding import embed_costs, spread_on_sphere
from repmet.model_definitions.prototypes.hierarchical_softmax import HierarchicalSoftmax
from repmet.model_definitions.prototypes.hyperspherical import HypersphericalPrototypes
from repmet.model_definitions.prototypes.learnt import LearntPrototypes

__all__ = [
    "DeepNCM",
    "HierarchicalSoftmax",
    "HypersphericalPrototypes",
    "LearntPrototypes",
    "embed_costs",
    "spread_on_sphere",
]
