"""Pictures scaled bit for bit as OpenCV and mmcv scale them."""

import cv2
import mmcv
import numpy as np
import pytest

from repmet.detection.exported.resize import fitted_size, resized


@pytest.mark.parametrize("seed", range(40))
def test_it_is_opencvs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(3, 700, 2)
    image = generator.integers(0, 256, (height, width, 3), np.uint8)
    if seed % 2:
        image = cv2.GaussianBlur(image, (7, 7), 0)
    size = fitted_size(int(width), int(height), 384)
    expected = mmcv.imrescale(image, (384, 384))
    assert expected.shape[1::-1] == size
    np.testing.assert_array_equal(resized(image, size), expected)


@pytest.mark.parametrize("shape", [(64, 96), (384, 100), (1, 7), (2, 2)])
def test_halves_and_what_need_not_be_scaled(shape) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    np.testing.assert_array_equal(resized(image, shape[::-1]), image)
    twice = np.random.default_rng(1).integers(0, 256, (2 * shape[0], 2 * shape[1], 3), np.uint8)
    np.testing.assert_array_equal(resized(twice, shape[::-1]), cv2.resize(twice, shape[::-1]))
