"""The methods that know what mistakes cost: each learns, and decides by its highest score."""

import pytest
import torch
from mmengine.registry import MODELS

import repmet.classification.methods  # noqa: F401

CLASSES = [str(i) for i in range(10)]
TREE = {"tree": "digits_visual"}
METHODS = {
    "free": {"type": "PrototypeClassifier"},
    "guided": {"type": "PrototypeClassifier", "costs": TREE, "guidance": {"name": "distortion", "weight": 0.5}},
    "ranked": {"type": "PrototypeClassifier", "costs": TREE, "guidance": {"name": "rank", "n_triplets": 50}},
    "fixed": {"type": "PrototypeClassifier", "costs": TREE, "fixed": True},
    "cosine": {"type": "PrototypeClassifier", "prototypes": {"distance": "cosine", "scale": 5.0}},
    "hyperspherical": {"type": "Hyperspherical", "costs": TREE, "embedding": {"max_steps": 20}},
    "deep_ncm": {"type": "RunningMeans", "weighting": "sample"},
    "hierarchical": {"type": "HierarchicalClassifier", "costs": TREE},
    "hxe": {"type": "CostSoftmax", "costs": TREE, "criterion": {"name": "hierarchical", "alpha": 0.2}},
    "soft": {"type": "CostSoftmax", "costs": {"numbers": True}, "criterion": {"name": "soft_labels", "beta": 4}},
    "emd": {"type": "CostSoftmax", "costs": TREE, "criterion": {"name": "squared_emd", "weight": 0.1, "mu": 1.0}},
}
ENCODER = {"type": "LeNet", "widths": [4, 8], "image_size": 8}
HEAD = {"type": "EmbeddingHead", "out_channels": 6, "hidden": 16, "normalize": False}


def build(name: str, **over):
    return MODELS.build({"encoder": ENCODER, "head": HEAD, "classes": CLASSES} | METHODS.get(name, {}) | over)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_falls_and_the_highest_score_decides(name):
    method = build(name)
    x, y = torch.rand(20, 1, 8, 8) + torch.arange(20)[:, None, None, None] % 10 / 10, torch.arange(20) % 10
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    values = []
    for _ in range(15):
        losses = method(x, y, torch.arange(20), mode="loss")
        total = sum(value for key, value in losses.items() if "loss" in key)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < values[0]
    method.eval()
    embeddings = method(x, mode="tensor")
    assert torch.equal(method.predict(embeddings), method.scores(embeddings).argmax(-1))
    assert torch.equal(method.other_rules(embeddings)["classifier"], method(x, mode="predict"))
    representatives = method.class_representatives()
    assert (representatives is None) == (name in ("hierarchical", "hxe", "soft", "emd"))
    if representatives is not None:
        assert representatives.points.shape == (10, 1, 6) and not representatives.points.requires_grad
