"""Spoilt images lose what they should, neighbours are the nearest others, pictures are written."""

import pytest
import torch
from PIL import Image

from repmet.classification.inputs.dataset import ImageSet
from repmet.classification.methods import MetricLearning
from repmet.classification.pictures.certainty import (
    LEVELS,
    blurred,
    certainty_plot,
    neighbours,
    neighbours_plot,
    norms_plot,
    occluded,
    risk_plot,
    spoilt_norms,
)
from repmet.classification.protocols.embedding import embed_split


@pytest.fixture(scope="module")
def digits() -> tuple[MetricLearning, ImageSet]:
    torch.manual_seed(0)
    method = MetricLearning(
        {"type": "LeNet", "widths": [2, 4], "image_size": 8},
        {"type": "EmbeddingHead", "out_channels": 5, "normalize": False},
        loss={"type": "pml.ProbabilisticProxyLoss", "similarity": "el_vmf"},
        num_classes=10,
    )
    arguments = {"train_per_class": 4, "val_per_class": 2, "test_per_class": 2}
    return method, ImageSet("digits", None, "train", arguments=arguments, transform=[{"type": "ToFloat"}])


def test_blur_and_occlusion():
    torch.manual_seed(1)
    x = torch.rand(3, 1, 32, 32)
    assert torch.equal(blurred(x, 0.0), x) and torch.equal(occluded(x, 0.0), x)
    spread = [blurred(x, level).std().item() for level in LEVELS]
    assert spread == sorted(spread, reverse=True) and spread[-1] < 0.2 * spread[0]
    half = occluded(x, 0.5)
    changed = (half != x).any(1)
    assert changed.float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert changed[:, 8:24, 8:24].all() and (half[0, 0, 8:24, 8:24] == x[0].mean()).all()


def test_norms_of_spoilt_images(digits):
    method, images = digits
    method.train()
    norms = spoilt_norms(method, images, [0, 3, 5])
    assert method.training and set(norms) == {"blur", "occlusion"}
    plain = embed_split(method, images)[[0, 3, 5]].norm(dim=1)
    for values in norms.values():
        assert values.shape == (len(LEVELS), 3)
        torch.testing.assert_close(values[0], plain)


@pytest.mark.parametrize("metric", ("cosine", "euclidean"))
def test_neighbours_are_the_nearest_others(metric):
    torch.manual_seed(2)
    e = torch.randn(30, 6)
    e[7] = e[3]  # a copy comes first
    nearest = neighbours(e, torch.tensor([3, 12]), 4, metric)
    x = torch.nn.functional.normalize(e, dim=1) if metric == "cosine" else e
    d = torch.cdist(x[[3, 12]], x)
    d[0, 3] = d[1, 12] = torch.inf
    assert torch.equal(nearest, d.argsort(dim=1)[:, :4]) and nearest[0, 0] == 7


def test_pictures_are_written(digits, tmp_path):
    method, images = digits
    e = embed_split(method, images)
    certainty_plot(tmp_path / "a.png", images, e, number=4)
    neighbours_plot(tmp_path / "b.png", images, e, [0, 9], number=3)
    norms_plot(tmp_path / "c.png", spoilt_norms(method, images, range(6)))
    risk_plot(tmp_path / "d.png", {"norm": {"coverage": [0.5, 1.0], "risk": [0.1, 0.3]}})
    for name in "abcd":
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 300 and len(set(picture.convert("L").tobytes())) > 10
