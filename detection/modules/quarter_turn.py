"""Quarter turns for images that are seen from above, where no side is up."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes


def quarter_turn(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) and its boxes (G, 4) by 90 degrees against the clock.

    A box (x1, y1, x2, y2) becomes (y1, W - x2, y2, W - x1).
    """
    width = image.shape[1]
    x1, y1, x2, y2 = boxes.T
    return np.ascontiguousarray(np.rot90(image)), np.stack([y1, width - x2, y2, width - x1], 1)


@TRANSFORMS.register_module()
class RandomQuarterTurn(BaseTransform):
    """`quarter_turn`, after the annotations are loaded. With flips both ways that gives all eight views.

    Args:
        prob: how often, in [0, 1].
    """

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f"RandomQuarterTurn takes a probability, not {prob}")
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if np.random.rand() >= self.prob:
            return results
        results["img"], boxes = quarter_turn(results["img"], results["gt_bboxes"].numpy())
        results["img_shape"] = results["img"].shape[:2]
        results["gt_bboxes"] = HorizontalBoxes(boxes)
        return results
