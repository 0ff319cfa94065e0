"""ResNet with deformable convolution in chosen blocks, against mmdet's plain one."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from torchvision.ops import deform_conv2d

from repmet.detection.modules.selective_dcn import SelectiveDCNResNet

ResNet = MODELS.get("mmdet.ResNet")  # importing mmdet.models here would come before mmcv's table of kernels is filled
BLOCKS = {2: [3], 4: [0, 2]}
NARROW = {"depth": 50, "base_channels": 8, "norm_eval": True}


@pytest.fixture
def plain() -> ResNet:
    model = ResNet(**NARROW)
    with torch.no_grad():  # statistics as a trained network has them
        for name, value in model.named_buffers():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                value.normal_(std=0.1)
    model.eval()  # mmdet's returns nothing
    return model


@pytest.fixture
def deformable(plain: ResNet) -> SelectiveDCNResNet:
    """The same weights in a network with deformable blocks."""
    model = SelectiveDCNResNet(dcn_blocks=BLOCKS, deform_groups=2, **NARROW)
    loaded = model.load_state_dict(plain.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert sorted(loaded.missing_keys) == sorted(
        f"layer{stage}.{i}.conv2.conv_offset.{kind}" for stage, blocks in BLOCKS.items() for i in blocks
        for kind in ("weight", "bias")
    )  # fmt: skip
    model.eval()  # mmdet's returns nothing
    return model


def test_only_the_named_blocks_are_deformable(deformable: SelectiveDCNResNet) -> None:
    names = {name for name, module in deformable.named_modules() if "DeformConv" in type(module).__name__}
    assert names == {"layer2.3.conv2", "layer4.0.conv2", "layer4.2.conv2"}
    assert deformable.layer4[0].conv2.deform_groups == 2
    assert deformable.layer4[0].conv2.stride == (2, 2), "the geometry of the convolution that it replaces"


@pytest.mark.parametrize("size", [(64, 64), (65, 83)])
def test_without_offsets_it_is_the_plain_network(plain: ResNet, deformable: SelectiveDCNResNet, size) -> None:
    offsets = [m.conv_offset for m in deformable.modules() if hasattr(m, "conv_offset")]
    assert len(offsets) == 3 and all(not p.any() for o in offsets for p in o.parameters()), "they start at zero"
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        for ours, theirs in zip(deformable(x), plain(x), strict=True):
            assert theirs.std() > 1e-3
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_offsets_change_what_follows_them_as_torchvision_says(deformable: SelectiveDCNResNet) -> None:
    conv = deformable.layer2[3].conv2
    x = torch.randn(2, conv.in_channels, 9, 11)
    with torch.no_grad():
        before = conv(x)
        conv.conv_offset.weight.normal_(std=0.2)
        conv.conv_offset.bias.normal_()
        after = conv(x)
        expected = deform_conv2d(x, conv.conv_offset(x), conv.weight, None, stride=conv.stride, padding=conv.padding)
    torch.testing.assert_close(after, expected)
    assert (after - before).abs().max() > 1e-2


def test_offsets_learn(deformable: SelectiveDCNResNet) -> None:
    sum(level.square().mean() for level in deformable(torch.randn(1, 3, 64, 64))).backward()
    for stage, blocks in BLOCKS.items():
        for i in blocks:
            conv = getattr(deformable, f"layer{stage}")[i].conv2
            assert conv.conv_offset.weight.grad.abs().sum() > 0 and conv.weight.grad.abs().sum() > 0


def test_a_config_names_it_and_initialisation_keeps_the_offsets_zero() -> None:
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build({"type": "SelectiveDCNResNet", "dcn_blocks": BLOCKS, **NARROW})
    model.init_weights()
    for module in model.modules():
        if hasattr(module, "conv_offset"):
            assert not module.conv_offset.weight.any() and not module.conv_offset.bias.any()
            assert module.weight.std() > 0


def test_a_file_of_a_plain_network_and_one_with_offsets_both_load(plain, deformable, tmp_path) -> None:
    """The former leaves the offsets at zero, the latter brings its own."""
    conv = deformable.layer2[3].conv2
    for kind, source in (("plain", plain), ("deformable", deformable)):
        if kind == "deformable":
            torch.nn.init.normal_(conv.conv_offset.weight)
        path = tmp_path / f"{kind}.pth"
        torch.save({"state_dict": source.state_dict()}, path)
        init = {"type": "Pretrained", "checkpoint": str(path)}
        model = SelectiveDCNResNet(dcn_blocks=BLOCKS, deform_groups=2, init_cfg=init, **NARROW)
        model.init_weights()
        loaded = model.layer2[3].conv2
        assert torch.equal(loaded.weight, plain.layer2[3].conv2.weight)
        assert torch.equal(loaded.conv_offset.weight, conv.conv_offset.weight)
        assert loaded.conv_offset.weight.any() == (kind == "deformable")


def test_the_published_blocks_are_there() -> None:
    with torch.device("meta"):
        model = SelectiveDCNResNet(dcn_blocks={2: [3], 3: [22], 4: [0, 1, 2]}, deform_groups=4, depth=101, base_channels=8)
    assert sum(hasattr(m, "conv_offset") for m in model.modules()) == 5


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({2: [4]}, "stage 2 has 4 blocks, there is no block 4"),
        ({4: [0, 3]}, "stage 4 has 3 blocks, there is no block 3"),
        ({5: [0]}, "stage 5 has 0 blocks, there is no block 0"),
        ({2: [-1]}, "stage 2 has 4 blocks, there is no block -1"),
    ],
)
def test_a_block_that_is_not_there_is_named(blocks: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelectiveDCNResNet(dcn_blocks=blocks, **NARROW)


@pytest.mark.parametrize("depth", [18, 34])
def test_a_depth_without_bottlenecks_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth {depth} has no bottleneck blocks; take 50, 101 or 152"):
        SelectiveDCNResNet(dcn_blocks={4: [0]}, depth=depth, base_channels=8)
