"""A RoI extractor for mmdet that pools from all levels of a feature pyramid in one operator.

A drop-in for mmdet's `SingleRoIExtractor`: the same arguments, the same assignment of RoIs to levels, the same values.
Instead of a loop over levels that gathers RoIs, pools them and scatters the result, csrc's fused operator does it at once.
"""

import torch
from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions import roi_layers


@MODELS.register_module()
class FusedRoIExtractor(SingleRoIExtractor):
    """`SingleRoIExtractor` on `roi_layers.roi_align_pyramid`.

    RoIs keep float32 coordinates under AMP, where mmdet's extractor rounds them to half precision.

    Raises:
        ValueError: `roi_layer` is anything but RoIAlign with `pool_mode='avg'`.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for layer in self.roi_layers:
            if not isinstance(layer, RoIAlign) or layer.pool_mode != "avg":
                raise UserError(
                    f"FusedRoIExtractor pools by RoIAlign with pool_mode='avg', not by {layer}; use SingleRoIExtractor"
                )

    def forward(self, feats: tuple[Tensor, ...], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Features (R, C, height, width) of `rois` (R, 5) from `feats`, one (N, C, H_l, W_l) per level."""
        if roi_scale_factor is not None:  # levels by the given box, samples from a scaled one: two boxes per RoI
            return super().forward(feats, rois, roi_scale_factor)
        layer = self.roi_layers[0]
        if rois.dtype != feats[0].dtype:
            rois = rois.to(torch.promote_types(feats[0].dtype, torch.float32))
        return roi_layers.roi_align_pyramid(
            feats,
            rois,
            layer.output_size,
            [level.spatial_scale for level in self.roi_layers[: len(feats)]],
            layer.sampling_ratio,
            layer.aligned,
            float(self.finest_scale),
        )
