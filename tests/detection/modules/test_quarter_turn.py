import numpy as np
import pytest

import detection.modules  # noqa: F401  (before mmdet: fills mmcv's table of kernels)
from detection.modules.quarter_turn import RandomQuarterTurn

from mmdet.structures.bbox import HorizontalBoxes  # isort: skip


def test_boxes_stay_on_their_objects():
    image = np.zeros((40, 60, 3), np.uint8)
    image[5:15, 30:50] = 7  # x1 30, y1 5, x2 50, y2 15
    boxes = HorizontalBoxes(np.array([[30.0, 5, 50, 15]], np.float32))
    turned = RandomQuarterTurn(1.0).transform({"img": image, "gt_bboxes": boxes})
    assert turned["img"].shape == (60, 40, 3) and turned["img_shape"] == (60, 40)
    rows, columns = np.nonzero(turned["img"][..., 0])
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_array_equal(turned["gt_bboxes"].numpy(), [found])


def test_four_turns_are_none():
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    boxes = np.array([[1.0, 0, 3, 2], [0, 1, 6, 4]], np.float32)
    results = {"img": image, "gt_bboxes": HorizontalBoxes(boxes)}
    for _ in range(4):
        results = RandomQuarterTurn(1.0).transform(results)
    np.testing.assert_array_equal(results["img"], image)
    np.testing.assert_array_equal(results["gt_bboxes"].numpy(), boxes)


def test_as_often_as_asked():
    def turns(prob):
        np.random.seed(0)
        one = {"img": np.zeros((2, 4, 3), np.uint8), "gt_bboxes": HorizontalBoxes(np.zeros((0, 4), np.float32))}
        return sum(RandomQuarterTurn(prob).transform(dict(one))["img"].shape[0] == 4 for _ in range(200))

    assert turns(0.0) == 0 and turns(1.0) == 200 and 70 < turns(0.5) < 130


def test_a_probability_that_is_none():
    with pytest.raises(ValueError, match="probability"):
        RandomQuarterTurn(2)
