"""One composed scene: its characters are where the boxes say, and show as much as promised."""

import numpy as np
import pytest

from repmet.data.generated.scene_composition import CHARACTER_SIDE, MAX_BOX_OVERLAP, MAX_COVERED, compose


@pytest.fixture(scope="module")
def scenes():
    return [compose((3, 8, 100_001, 8, 15)[: 3 + i % 3], np.random.default_rng(i)) for i in range(150)]


def test_boxes_keep_to_the_recipe(scenes):
    for scene in scenes:
        assert len(scene.boxes) == len(scene.class_ids) == len(scene.covered)
        x, y, w, h = scene.boxes.T
        longer = np.maximum(w, h)
        assert longer.min() >= CHARACTER_SIDE[0] and longer.max() <= CHARACTER_SIDE[1]
        assert x.min() >= 0 and y.min() >= 0 and (x + w).max() <= 192 and (y + h).max() <= 192
        for i in range(len(x)):
            for j in range(i):
                width = min(x[i] + w[i], x[j] + w[j]) - max(x[i], x[j])
                height = min(y[i] + h[i], y[j] + h[j]) - max(y[i], y[j])
                shared = max(width, 0) * max(height, 0)
                assert shared <= MAX_BOX_OVERLAP * min(w[i] * h[i], w[j] * h[j])


def test_covering_happens_and_is_bounded(scenes):
    covered = np.concatenate([scene.covered for scene in scenes])
    assert covered.min() >= 0 and covered.max() <= MAX_COVERED
    assert 0.1 < (covered > 0.1).mean() < 0.5


def test_uncovered_ink_stands_out_from_the_ground(scenes):
    checked = 0
    for scene in scenes:
        for (x, y, w, h), covered in zip(scene.boxes, scene.covered, strict=True):
            if covered == 0:
                crop = scene.image[y : y + h, x : x + w].astype(float) @ [0.114, 0.587, 0.299]
                assert crop.std() > 15
                checked += 1
    assert checked > 100


def test_same_generator_same_scene_other_seed_other_alphabet():
    first, again = (compose((0, 1, 2), np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.boxes, again.boxes)
    other = compose((0, 1, 2), np.random.default_rng(4), seed=1)
    assert not np.array_equal(first.image, other.image)


def test_larger_images():
    scene = compose((0, 1, 2, 3, 4), np.random.default_rng(0), size=320)
    assert scene.image.shape == (320, 320, 3)
