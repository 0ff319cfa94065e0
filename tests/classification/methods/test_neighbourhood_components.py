"""Training without episodes and cosine classifiers: each learns, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS

import repmet.classification.methods  # noqa: F401

ENCODER = {"type": "LeNet", "widths": [4, 8], "image_size": 8}


def trained(method, steps=25):
    torch.manual_seed(0)
    labels = torch.arange(20) % 5
    rows = torch.eye(8)[labels, None, :, None]  # a bright row tells the class
    images = 0.3 * torch.rand(20, 1, 8, 8) + rows
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        figures = method(images, labels, torch.arange(20), mode="loss")
        optimizer.zero_grad()
        figures["loss"].backward()
        optimizer.step()
        losses.append(figures["loss"].item())
    return losses, images, labels


def test_nca_learns_to_put_classes_apart():
    method = MODELS.build({"type": "NeighbourhoodComponents", "encoder": ENCODER, "temperature": 2.0})
    losses, images, labels = trained(method)
    assert losses[-1] < losses[0] / 2
    with torch.no_grad():
        distances = torch.cdist(*[method.eval()(images)] * 2).fill_diagonal_(torch.inf)
    assert (labels[distances.argmin(1)] == labels).all()
    with pytest.raises(ValueError, match="holds nothing of its classes"):
        method.predict(method(images))


def test_the_cosine_classifier_learns_and_norms_say_nothing():
    method = MODELS.build({"type": "CosineSoftmax", "encoder": ENCODER, "num_classes": 5, "scale": 8.0})
    losses, images, labels = trained(method)
    assert losses[-1] < losses[0] and method.distance == "cosine"
    embeddings = method.eval()(images)
    assert (method.predict(embeddings) == labels).all()
    assert torch.equal(method.predict(3 * embeddings), method.other_rules(embeddings)["classifier"])
    cosines = F.cosine_similarity(embeddings[:, None], method.directions[None], dim=-1)
    torch.testing.assert_close(method.logits(embeddings), 8 * cosines)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "NeighbourhoodComponents", "temperature": 0}, "temperature must be positive, got 0"),
        ({"type": "CosineSoftmax", "num_classes": 3, "scale": -1}, "scale must be positive, got -1"),
    ],
)
def test_numbers_that_make_no_sense(section, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({"encoder": ENCODER} | section)
