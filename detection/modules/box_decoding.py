"""From regions and predicted deltas to boxes in the image: what our box heads share."""

from mmdet.structures.bbox import scale_boxes
from torch import Tensor


class DecodesBoxes:
    """A box head with mmdet's `bbox_coder`."""

    def decode(self, rois: Tensor, bbox_pred: Tensor, img_meta: dict, rescale: bool) -> Tensor:
        """RoIs (R, 5) and deltas (R, 4) -> boxes (R, 4) inside the image; in the original image's pixels if `rescale`."""
        boxes = self.bbox_coder.decode(rois[:, 1:], bbox_pred, max_shape=img_meta["img_shape"])
        return scale_boxes(boxes, [1 / s for s in img_meta["scale_factor"]]) if rescale else boxes
