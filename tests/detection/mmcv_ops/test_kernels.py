"""mmcv's table of kernels filled by csrc: stock mmdet models train and predict through it."""

import importlib.util
import subprocess
import sys

import pytest
import torch

pytest.importorskip("mmcv")
pytest.importorskip("repmet.detection")  # its table comes before mmcv asks for one

from mmcv import ops
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.structures import InstanceData

from repmet.detection.mmcv_ops.table import NAME, owner
from repmet.model_definitions import roi_layers

ours = pytest.mark.skipif(owner() != "csrc", reason="a complete mmcv is installed")
BOXES = torch.tensor([[0.0, 1.0, 1.0, 9.0, 8.0], [1.0, -3.0, 2.0, 30.0, 11.0], [1.0, 40.0, 40.0, 50.0, 50.0]])


def faster_rcnn(depth: int = 18, **backbone) -> torch.nn.Module:
    """mmdet's own configuration without its download; the backbone is narrower where a test can do with less."""
    register_all_modules()
    config = Config.fromstring("_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py']", ".py").model
    config.backbone.init_cfg = None
    if depth != 50:
        config.backbone.update(depth=depth, frozen_stages=-1)
        config.neck.in_channels = [64, 128, 256, 512]
    config.backbone.update(backbone)
    return MODELS.build(config)


def batch() -> dict:
    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo={"img_shape": (64, 96), "ori_shape": (64, 96), "scale_factor": (1.0, 1.0)})
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 50.0], [30.0, 10.0, 90.0, 60.0]]), labels=torch.tensor([3, 7])
        )
        samples.append(sample)
    return {"inputs": [torch.randint(0, 255, (3, 64, 96), dtype=torch.uint8) for _ in samples], "data_samples": samples}


def train_and_predict(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    model.train()
    data = model.data_preprocessor(batch(), True)
    losses = model(**data, mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    model.eval()
    with torch.no_grad():
        model(**model.data_preprocessor(batch(), False), mode="predict")
    assert total.isfinite()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@ours
@pytest.mark.parametrize("way", ["csrc", "torchvision"])
def test_stock_faster_rcnn_trains_and_predicts(way, monkeypatch) -> None:
    if way == "torchvision":
        monkeypatch.setattr(roi_layers, "_DEVICES", frozenset())
        monkeypatch.setattr(roi_layers, "_NOTICED", {"cpu"})
    elif roi_layers.backend() != "csrc":
        pytest.skip("csrc is not compiled")
    gradients = train_and_predict(faster_rcnn(depth=50 if way == "csrc" else 18))
    assert gradients["roi_head.bbox_head.fc_cls.weight"].abs().sum() > 0
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@ours
@pytest.mark.parametrize("kind", ["DCN", "DCNv2"])
def test_faster_rcnn_with_deformable_convolution(kind) -> None:
    model = faster_rcnn(50, dcn={"type": kind, "deform_groups": 1}, stage_with_dcn=(False, False, False, True))
    gradients = train_and_predict(model)
    for part in ("conv2.weight", "conv2.conv_offset.weight"):
        assert gradients[f"backbone.layer4.1.{part}"].abs().sum() > 0


@ours
@pytest.mark.parametrize("way", ["csrc", "torchvision"])
def test_roi_layers_through_mmcv(way, monkeypatch) -> None:
    """mmcv's own modules and autograd functions give what torchvision gives, gradients too."""
    import torchvision.ops as reference

    if way == "torchvision":
        monkeypatch.setattr(roi_layers, "_DEVICES", frozenset())
        monkeypatch.setattr(roi_layers, "_NOTICED", {"cpu"})
    elif roi_layers.backend() != "csrc":
        pytest.skip("csrc is not compiled")
    input = torch.randn(2, 5, 12, 10, requires_grad=True)
    for result, expected in (
        (ops.RoIAlign(3, 0.5, 2)(input, BOXES), reference.roi_align(input, BOXES, 3, 0.5, 2, True)),
        (ops.RoIPool(3, 0.5)(input, BOXES), reference.roi_pool(input, BOXES, 3, 0.5)),
    ):
        torch.testing.assert_close(result, expected)
        grad = torch.randn_like(expected)
        torch.testing.assert_close(
            torch.autograd.grad(result, input, grad)[0], torch.autograd.grad(expected, input, grad)[0]
        )


@ours
def test_nms_with_and_without_the_pixel_offset() -> None:
    """Boxes 0..9 and 0..4 (10 and 5 pixels with both edges counted) in x, equal in y: IoU 0.5, or 4/9 without."""
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 4.0, 9.0]])
    scores = torch.tensor([0.9, 0.8])
    assert ops.nms(boxes, scores, 0.47, offset=0)[1].tolist() == [0, 1]
    assert ops.nms(boxes, scores, 0.47, offset=1)[1].tolist() == [0]
    kept, index = ops.batched_nms(boxes, scores, torch.tensor([0, 1]), {"type": "nms", "iou_threshold": 0.1})
    assert index.tolist() == [0, 1]
    assert kept.shape == (2, 5)


@ours
def test_batched_nms_tells_classes_apart_without_shifting_them() -> None:
    """Shifted by 10^7 image widths, as mmcv does, float32 would put these boxes in one place."""
    from mmdet.models.dense_heads import rpn_head

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [4.0, 0.0, 14.0, 10.0], [1.0, 0.0, 11.0, 10.0], [0.0, 0.0, 10.0, 10.0]])
    scores, labels = torch.tensor([0.6, 0.9, 0.8, 0.7]), torch.tensor([10**7, 10**7, 10**7, 3])
    for call in (ops.batched_nms, rpn_head.batched_nms):  # mmdet's heads have it too
        kept, index = call(boxes, scores, labels, {"type": "nms", "iou_threshold": 0.5})
        assert index.tolist() == [1, 3, 0]  # IoU of 1 and 2: 7/13, of 1 and 0: 3/7
        assert torch.equal(kept, torch.cat([boxes, scores[:, None]], dim=1)[index])
    limited = {"type": "nms", "iou_threshold": 0.5, "max_num": 2, "split_thr": 1}
    assert ops.batched_nms(boxes, scores, labels, limited)[1].tolist() == [1, 3]


@ours
def test_batched_nms_leaves_the_rest_to_mmcv() -> None:
    boxes, scores = BOXES[:, 1:], torch.tensor([0.2, 0.9, 0.5])
    options = {"type": "nms", "iou_threshold": 0.05}
    labels = torch.tensor([0, 1, 2])
    assert len(ops.batched_nms(boxes, scores, labels, options)[1]) == 3
    assert ops.batched_nms(boxes, scores, labels, options, class_agnostic=True)[1].tolist() == [1, 2]
    assert ops.batched_nms(boxes, scores, labels, options | {"class_agnostic": True})[1].tolist() == [1, 2]
    assert ops.batched_nms(boxes, scores, labels, options | {"score_threshold": 0.3})[1].tolist() == [1, 2]
    assert ops.batched_nms(boxes, scores, labels, None)[1].tolist() == [1, 2, 0]
    with pytest.raises(NotImplementedError, match="softnms"):
        ops.batched_nms(boxes, scores, labels, {"type": "soft_nms", "iou_threshold": 0.5})


def reference_deform_conv(x, offset, mask, layer, bias):
    import torchvision.ops as reference

    return reference.deform_conv2d(x, offset, layer.weight, bias, layer.stride, layer.padding, layer.dilation, mask=mask)


@ours
@pytest.mark.parametrize(("groups", "deform_groups", "stride"), [(1, 1, 1), (2, 2, 2)])
def test_deformable_convolution_through_mmcv(groups, deform_groups, stride) -> None:
    options = {"stride": stride, "padding": 1, "groups": groups, "deform_groups": deform_groups}
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    side = ((9 - 1) // stride + 1, (8 - 1) // stride + 1)
    offset = torch.randn(2, 18 * deform_groups, *side, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(2, 9 * deform_groups, *side, dtype=torch.float64, requires_grad=True)

    layer = ops.DeformConv2d(4, 6, 3, **options).double()
    result, expected = layer(x, offset), reference_deform_conv(x, offset, None, layer, None)
    torch.testing.assert_close(result, expected)
    grad = torch.randn_like(result)
    for leaves in ([x, offset, layer.weight], [layer.weight], [x]):
        for ours_, theirs in zip(
            torch.autograd.grad(layer(x, offset), leaves, grad),
            torch.autograd.grad(reference_deform_conv(x, offset, None, layer, None), leaves, grad),
            strict=True,
        ):
            torch.testing.assert_close(ours_, theirs)
    only_weight = layer(x.detach(), offset.detach())
    torch.testing.assert_close(
        torch.autograd.grad(only_weight, layer.weight, grad)[0], torch.autograd.grad(expected, layer.weight, grad)[0]
    )

    modulated = ops.ModulatedDeformConv2d(4, 6, 3, bias=True, **options).double()
    leaves = [x, offset, mask, modulated.weight, modulated.bias]
    result = modulated(x, offset, mask)
    expected = reference_deform_conv(x, offset, mask, modulated, modulated.bias)
    torch.testing.assert_close(result, expected)
    for ours_, theirs in zip(
        torch.autograd.grad(result, leaves, grad), torch.autograd.grad(expected, leaves, grad), strict=True
    ):
        torch.testing.assert_close(ours_, theirs)


@ours
def test_the_slope_of_the_offsets_is_mmcvs_where_a_point_lies_at_minus_one() -> None:
    """Offsets of 0 with padding: the first step of every training. What mmcv's own kernel gives for this layer."""
    layer = ops.ModulatedDeformConv2dPack(1, 1, kernel_size=2, padding=1, deform_groups=1, bias=False)
    torch.nn.init.ones_(layer.weight)
    layer(torch.tensor([[[[1.0, 2.0, 3.0]]]])).sum().backward()
    assert layer.conv_offset.weight.grad[0, 0].tolist() == [[-7, -4], [0, 0]]


@ours
@pytest.mark.parametrize("axis", [0, 1])
def test_only_offsets_to_a_point_at_minus_one_lose_their_slope(axis) -> None:
    """One point of one tap is brought to -1 exactly; a hair further in the slope is the one-sided one."""
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64)
    layer = ops.DeformConv2d(2, 3, 3, padding=1, stride=2).double()
    offset = torch.rand(1, 18, 3, 3, dtype=torch.float64) - 0.5
    found = []
    for inwards in (0.0, 1e-9):
        there = offset.clone()
        there[0, 8 + axis, 1, 1] = -3 + inwards  # the middle tap of output (1, 1) lies at (2, 2)
        there.requires_grad_()
        found.append(torch.autograd.grad(layer(x, there).sum(), there)[0])
    assert found[0][0, 8 + axis, 1, 1] == 0 and found[1][0, 8 + axis, 1, 1].abs() > 1e-6
    assert found[0][0, 9 - axis, 1, 1].abs() < 1e-6
    for gradient in found:
        gradient[0, 8:10, 1, 1] = 0
    torch.testing.assert_close(*found)


@ours
def test_deformable_convolution_in_bfloat16_on_the_cpu() -> None:
    layer = ops.DeformConv2d(4, 6, 3, padding=1)
    x, offset = torch.randn(1, 4, 6, 6, requires_grad=True), torch.randn(1, 18, 6, 6).bfloat16()
    result = layer(x, offset)
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    assert x.grad.isfinite().all()


@ours
def test_other_operators_name_themselves() -> None:
    with pytest.raises(NotImplementedError, match=r"'softnms'.*onedl-mmcv"):
        ops.soft_nms(BOXES[:, 1:], torch.ones(3))
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        ops.RoIAlign(3, pool_mode="max")(torch.randn(2, 3, 8, 8), BOXES)


@ours
def test_the_module_can_be_found() -> None:
    assert owner() == "csrc"
    spec = importlib.util.find_spec(NAME)
    assert spec is sys.modules[NAME].__spec__
    assert not hasattr(sys.modules[NAME], "__path__")
    assert "RoI layers by" in ops.get_compiler_version()


def test_a_complete_mmcv_keeps_its_table(tmp_path) -> None:
    """An mmcv with a compiled module of its own, here a stand-in package, is left alone; without mmcv there is a message."""
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_ext.py").write_text("mine = True\n")
    program = (
        "from repmet.detection.mmcv_ops.table import owner; assert owner() == 'mmcv'; import mmcv._ext as e; assert e.mine"
    )
    search = "import sys; sys.path.insert(0, sys.argv[1]); "
    subprocess.run([sys.executable, "-c", search + program, str(tmp_path)], check=True)
    hidden = "sys.modules['mmcv'] = None; from repmet.detection.mmcv_ops.table import owner; owner()"
    result = subprocess.run([sys.executable, "-c", search + hidden, str(tmp_path)], capture_output=True, text=True)
    assert "detection needs mmcv" in result.stderr


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


def test_whatever_is_imported_first_finds_the_table_filled() -> None:
    program = "import detection.embedding.embedder; import mmdet.models; from mmcv.ops import DeformConv2dPack, RoIAlign"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Fail to import" not in result.stderr  # mmcv's word where it gave up on its operators
