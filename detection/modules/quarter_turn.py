"""Quarter turns for images that are seen from above, where no side is up."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes


@TRANSFORMS.register_module()
class RandomQuarterTurn(BaseTransform):
    """Turns the image and its boxes by 90 degrees against the clock. With flips both ways that gives all eight views.

    Comes after the annotations are loaded; a box (x1, y1, x2, y2) of an image W wide becomes (y1, W - x2, y2, W - x1).

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
        width = results["img"].shape[1]
        results["img"] = np.ascontiguousarray(np.rot90(results["img"]))
        results["img_shape"] = results["img"].shape[:2]
        x1, y1, x2, y2 = results["gt_bboxes"].numpy().T
        results["gt_bboxes"] = HorizontalBoxes(np.stack([y1, width - x2, y2, width - x1], 1))
        return results
