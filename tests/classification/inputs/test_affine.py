"""Small affine changes: against the geometry point by point, an image at rest, and what is refused."""

import math

import pytest
import torch

from repmet.classification.inputs.affine import AffineJitter
from repmet.classification.inputs.transforms import build_transform


def test_without_ranges_nothing_changes():
    images = torch.rand(3, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(AffineJitter()(images), images)


def test_every_matrix_lies_in_its_ranges():
    jitter = AffineJitter(degrees=30, scale=[0.5, 0.8], translate=0.1)
    torch.manual_seed(0)
    matrices = jitter.matrices(500)
    scales = matrices[:, :, :2].norm(dim=1)  # of the two axes
    assert 0.5 <= scales.min() < 0.52 and 0.78 < scales.max() <= 0.8
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).rad2deg()
    assert -30 <= angles.min() < -28 and 28 < angles.max() <= 30.001
    assert 0.19 < matrices[:, :, 2].abs().max() <= 0.2  # a tenth of a side that is 2 long
    torch.testing.assert_close((matrices[:, :, 0] * matrices[:, :, 1]).sum(1), torch.zeros(500), atol=1e-6, rtol=0)


def test_a_shear_keeps_heights():
    torch.manual_seed(0)
    matrices = AffineJitter(shear=45).matrices(200)
    assert matrices[:, 0, 0].eq(1).all() and matrices[:, 1, 0].eq(0).all() and matrices[:, 1, 1].eq(1).all()
    assert 0.95 < matrices[:, 0, 1].abs().max() <= math.tan(math.radians(45)) + 1e-6


def test_a_dot_comes_where_the_matrix_says():
    image = torch.zeros(1, 1, 65, 65)
    image[0, 0, 12:15, 47:50] = 1  # about x 0.5, y -0.6
    torch.manual_seed(3)
    jitter = AffineJitter(degrees=25, scale=[0.8, 1.2], shear=10, translate=0.05)
    state = torch.get_rng_state()
    result = jitter(image)
    torch.set_rng_state(state)
    matrix = jitter.matrices(1)[0]
    place = torch.linspace(-64 / 65, 64 / 65, 65)

    def centre(picture):
        total = picture.sum()
        return torch.stack([(picture.sum(0) * place).sum() / total, (picture.sum(1) * place).sum() / total])

    shown = matrix[:, :2] @ centre(result[0, 0]) + matrix[:, 2]
    torch.testing.assert_close(shown, centre(image[0, 0]), atol=0.01, rtol=0)


def test_each_image_has_a_draw_of_its_own_that_repeats_with_the_seed():
    jitter = build_transform([{"type": "AffineJitter", "degrees": 10, "translate": 0.1}])
    images = torch.rand(1, 1, 12, 12).expand(20, -1, -1, -1)
    torch.manual_seed(1)
    first = jitter(images)
    torch.manual_seed(1)
    assert torch.equal(jitter(images), first) and len(first.flatten(1).unique(dim=0)) == 20


@pytest.mark.parametrize(
    "arguments", [{"degrees": -1}, {"scale": [0, 1]}, {"scale": [1.2, 0.8]}, {"scale": [1]}, {"translate": -0.1}]
)
def test_ranges_that_make_no_sense(arguments):
    with pytest.raises(ValueError, match="at least 0, scale a range of positive numbers"):
        AffineJitter(**arguments)


def test_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="ToFloat or InkIsOne comes before it"):
        AffineJitter(degrees=3)(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
