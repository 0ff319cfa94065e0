"""Suppression for all classes in one pass is csrc's, class by class."""

import numpy as np
import pytest
import torch

from repmet.detection.exported.suppression import class_nms
from repmet.model_definitions.roi_layers import nms


@pytest.mark.parametrize(("count", "classes"), [(0, 3), (1, 1), (60, 1), (100, 7)])
@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 1.0])
def test_it_is_csrcs(count, classes, iou) -> None:
    generator = np.random.default_rng(count + classes)
    corners = generator.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0, 40, (count, 2))], 1).astype(np.float32)
    scores = generator.uniform(0, 1, (count, classes)).round(1).astype(np.float32)  # many are equal
    rows, labels = class_nms(boxes, scores, iou)
    assert labels.tolist() == sorted(labels.tolist())
    for c in range(classes):
        expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores[:, c].copy()), iou)
        assert rows[labels == c].tolist() == expected.tolist()
