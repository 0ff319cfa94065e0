"""Generated characters: reproducible, independent of how many are asked for, and told apart by their shape."""

import cv2
import numpy as np
import pytest

from repmet.data.generated.glyphs import draw, execute, glyph_images, rasterise, stroke_programme


def test_a_class_is_the_same_whatever_else_is_asked_for():
    few, few_labels = glyph_images(3, per_class=2, size=28, seed=5)
    many, many_labels = glyph_images([9, 2, 0, 1], per_class=4, size=28, seed=5)
    for class_id in range(3):
        assert np.array_equal(few[few_labels == class_id], many[many_labels == class_id][:2])
    assert not np.array_equal(few, glyph_images(3, per_class=2, size=28, seed=6)[0])


def test_shapes_and_range():
    images, labels = glyph_images(4, per_class=3, size=40)
    assert images.shape == (12, 40, 40) and images.dtype == np.uint8 and labels.dtype == np.int64
    assert labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert (images.reshape(12, -1).max(1) == 255).all()  # every drawing has full ink
    ink = (images > 127).reshape(12, -1).mean(1)
    assert ink.min() > 0.03 and ink.max() < 0.5  # strokes, neither dots nor blots
    greys = np.unique(images[0])
    assert len(greys) > 5  # anti-aliased


def test_every_programme_fills_the_unit_square():
    for class_id in range(50):
        programme = stroke_programme(class_id, seed=1)
        assert 2 <= len(programme.strokes) <= 4
        still = execute(programme, np.random.default_rng(0), jitter=0, rotation=0, shear=0, stretch=0, shift=0)
        points = np.concatenate(still.lines)
        extent = points.max(0) - points.min(0)
        assert extent.max() == pytest.approx(1, abs=1e-9) and extent.min() >= 0.55 - 1e-9
        assert points.min() >= -1e-9 and points.max() <= 1 + 1e-9


@pytest.mark.parametrize("size", [20, 33, 64])
def test_fitted_ink_touches_all_four_borders(size):
    for class_id in range(20):
        rng = np.random.default_rng(class_id)
        mask = rasterise(execute(stroke_programme(class_id), rng, rotation=30), size, fit=True)
        assert max(mask.shape) == size
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        assert (rows[0], rows[-1]) == (0, mask.shape[0] - 1)
        assert (columns[0], columns[-1]) == (0, mask.shape[1] - 1)


def _episodic_accuracy(features: np.ndarray, shot: int) -> float:
    """5-way accuracy of the nearest class mean over 300 episodes; features (classes, samples, pixels)."""
    rng = np.random.default_rng(0)
    right = []
    for _ in range(300):
        way = features[rng.choice(len(features), 5, replace=False)]
        order = rng.permutation(way.shape[1])
        means = way[:, order[:shot]].mean(1)
        queries = way[:, order[5:15]].reshape(-1, way.shape[-1])
        nearest = ((queries[:, None] - means[None]) ** 2).sum(-1).argmin(1)
        right.append((nearest == np.repeat(np.arange(5), 10)).mean())
    return float(np.mean(right))


def test_classes_are_told_apart_by_blurred_pixels():
    images, _ = glyph_images(60, per_class=20, size=28)
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in images]).astype(np.float32)
    features = blurred.reshape(60, 20, -1)
    one_shot, five_shot = _episodic_accuracy(features, 1), _episodic_accuracy(features, 5)
    assert one_shot > 0.75 and five_shot > 0.85  # chance is 0.2
    assert one_shot < 0.99  # and samples of a class do differ


def test_two_draws_differ_and_one_generator_repeats():
    programme = stroke_programme(3)
    first = draw(programme, 28, np.random.default_rng(1))
    assert np.array_equal(first, draw(programme, 28, np.random.default_rng(1)))
    assert not np.array_equal(first, draw(programme, 28, np.random.default_rng(2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stroke_programme(-1), "count from 0"),
        (lambda: glyph_images(0), "at least one class"),
        (lambda: glyph_images(3, per_class=0), "per_class=0"),
        (lambda: draw(stroke_programme(0), 2, np.random.default_rng(0)), "at least 4"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
