"""scikit-learn's digits as a labelled set."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from repmet.data.sources import digits


def test_splits_are_disjoint_and_true_to_the_source():
    parts = {split: digits.read(None, split) for split in digits.SPLITS}
    assert {split: part.counts.unique().tolist() for split, part in parts.items()} == {
        "train": [100], "val": [20], "trainval": [120], "test": [50]
    }  # fmt: skip
    source = load_digits()
    label_of = {
        np.round(image * 255 / 16).astype(np.uint8).tobytes(): t
        for image, t in zip(source.images, source.target, strict=True)
    }
    for part in parts.values():
        assert part.images.shape[1:] == (1, 8, 8) and int(part.images.max()) == 255
        assert [label_of[image.numpy().tobytes()] for image in part.images] == [int(part.classes[k]) for k in part.labels]
    images = {split: {image.numpy().tobytes() for image in part.images} for split, part in parts.items()}
    assert not images["test"] & images["trainval"] and images["train"] | images["val"] == images["trainval"]
    assert not torch.equal(digits.read(None, "test", seed=1).images, parts["test"].images)


def test_more_images_than_there_are():
    with pytest.raises(ValueError, match="class '0' has 178 images; 190 are wanted"):
        digits.read(None, "train", train_per_class=120)
    with pytest.raises(ValueError, match="digits has no split 'all'"):
        digits.read(None, "all")
