"""The extractor that pools all levels in one call, against mmdet's."""

import pytest
import torch

pytest.importorskip("mmcv")
pytest.importorskip("repmet.detection")  # its table comes before mmcv asks for one

from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

from tests.detection.mmcv_ops.stock_models import faster_rcnn, ours, train_and_predict


@ours
class TestFusedExtractor:
    def pair(self, **layer):
        from repmet.detection.modules.roi_extractor import FusedRoIExtractor

        register_all_modules()
        options = {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0} | layer
        config = {"roi_layer": options, "out_channels": 20, "featmap_strides": [4, 8, 16, 32]}
        fused = MODELS.build({"type": "FusedRoIExtractor", **config})
        assert isinstance(fused, FusedRoIExtractor)
        return fused, MODELS.build({"type": "SingleRoIExtractor", **config})

    @pytest.mark.parametrize("scale_factor", [None, 1.5])
    @pytest.mark.parametrize("count", [0, 1, 100])
    def test_equals_the_stock_extractor(self, count, scale_factor) -> None:
        fused, stock = self.pair()
        feats = [torch.randn(2, 20, 64 // 2**i, 48 // 2**i, requires_grad=True) for i in range(4)]
        corner = torch.rand(count, 2) * 150
        size = torch.exp(torch.rand(count, 2) * 5)
        rois = torch.cat([torch.randint(0, 2, (count, 1)).float(), corner, corner + size], dim=1)
        result, expected = fused(feats, rois, scale_factor), stock(feats, rois, scale_factor)
        torch.testing.assert_close(result, expected)
        for a, b in zip(
            torch.autograd.grad(result.square().sum(), feats),
            torch.autograd.grad(expected.square().sum(), feats),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

    def test_half_precision_features(self) -> None:
        fused, _ = self.pair()
        feats = [torch.randn(1, 20, 32 // 2**i, 32 // 2**i).bfloat16() for i in range(4)]
        assert fused(feats, torch.tensor([[0.0, 3.0, 3.0, 90.0, 90.0]])).dtype == torch.bfloat16

    def test_trains_inside_faster_rcnn(self) -> None:
        model = faster_rcnn()
        model.roi_head.bbox_roi_extractor, _ = self.pair()
        model.roi_head.bbox_roi_extractor.out_channels = 256
        assert train_and_predict(model)["neck.fpn_convs.0.conv.weight"].abs().sum() > 0

    def test_refuses_other_layers(self) -> None:
        with pytest.raises(ValueError, match="use SingleRoIExtractor"):
            self.pair(type="RoIAlign", pool_mode="max")
