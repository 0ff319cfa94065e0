"""The encoders trained from scratch: shapes, strides, and each against the torch operations that it is made of."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from repmet.model_definitions.encoders import Conv4, ConvPyramid, LeNet, conv_block


def by_hand(x: torch.Tensor, block: nn.Sequential, *, stride: int, pool: bool, training: bool) -> torch.Tensor:
    """Convolution, batch norm by its own equation, ReLU and the maximum over 2x2 windows."""
    conv, norm = block[0], block[1]
    y = F.conv2d(x, conv.weight, None, stride=stride, padding=1)
    if training:
        mean, var = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), unbiased=False, keepdim=True)
    else:
        mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    y = (y - mean) / (var + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    y = y.clamp(min=0)
    if pool:
        height, width = y.shape[-2] // 2 * 2, y.shape[-1] // 2 * 2
        y = y[..., :height, :width]
        corners = (y[..., i::2, j::2] for i in range(2) for j in range(2))
        y = torch.stack(list(corners)).amax(0)
    return y


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(12, 8), (9, 7)])
def test_a_block_is_its_operations(stride: int, pool: bool, training: bool, size: tuple[int, int]) -> None:
    block = conv_block(3, 5, stride=stride, pool=pool).double().train(training)
    norm = block[1]
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean):
            values.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(4, 3, *size, dtype=torch.float64)
    expected = by_hand(x, block, stride=stride, pool=pool, training=training)  # before the block moves its statistics
    torch.testing.assert_close(block(x), expected)


def test_a_block_has_no_bias_that_batch_norm_would_take_away() -> None:
    assert {name: tuple(p.shape) for name, p in conv_block(3, 5).named_parameters()} == {
        "0.weight": (5, 3, 3, 3),
        "1.weight": (5,),
        "1.bias": (5,),
    }


@pytest.mark.parametrize("size", [(64, 96), (192, 192)])
def test_levels_halve_the_sides(size: tuple[int, int]) -> None:
    pyramid = ConvPyramid(channels=(4, 6, 8, 10), out_indices=(0, 1, 2, 3), in_channels=1)
    levels = pyramid(torch.randn(2, 1, *size))
    assert [tuple(level.shape) for level in levels] == [
        (2, width, size[0] // 2 ** (i + 1), size[1] // 2 ** (i + 1)) for i, width in enumerate((4, 6, 8, 10))
    ]


@pytest.mark.parametrize("side", [33, 47, 63, 100])
@pytest.mark.parametrize("strided", [0, 1, 2, 4])
def test_odd_sides(side: int, strided: int) -> None:
    # a stride rounds up, pooling rounds down
    expected, sizes = side, []
    for i in range(4):
        expected = (expected + 1) // 2 if i < strided else expected // 2
        sizes.append(expected)
    pyramid = ConvPyramid(channels=(4, 4, 4, 4), out_indices=(0, 1, 2, 3), strided=strided)
    levels = pyramid(torch.randn(1, 3, side, side + 1))
    assert [level.shape[-2] for level in levels] == sizes
    for i, size in enumerate(sizes):
        assert side // 2 ** (i + 1) <= size <= -(-side // 2 ** (i + 1))


def test_a_level_sees_what_its_stride_says() -> None:
    """Moving the image by a level's stride moves the level by one pixel."""
    pyramid = ConvPyramid(channels=(4, 4, 4), out_indices=(0, 1, 2)).eval()
    image = torch.zeros(1, 3, 96, 96)
    image[..., 40:56, 32:48] = torch.randn(3, 16, 16)
    for i, level in enumerate(pyramid(image)):
        stride = 2 ** (i + 1)
        moved = pyramid(image.roll((stride, stride), dims=(2, 3)))[i]
        inner = slice(3, -3)  # the border knows the padding
        torch.testing.assert_close(moved[..., inner, inner], level.roll((1, 1), dims=(2, 3))[..., inner, inner])
        assert level[..., inner, inner].std() > 0


def test_only_the_levels_asked_for_in_the_order_asked_for() -> None:
    every = ConvPyramid(channels=(4, 6, 8), out_indices=(0, 1, 2))
    some = ConvPyramid(channels=(4, 6, 8), out_indices=(2, 0))
    some.load_state_dict(every.state_dict())
    x = torch.randn(2, 3, 32, 32)
    levels = every(x)
    chosen = some(x)
    assert len(chosen) == 2 and torch.equal(chosen[0], levels[2]) and torch.equal(chosen[1], levels[0])


def test_defaults_are_conv4_with_three_levels() -> None:
    pyramid = ConvPyramid()
    assert [level.shape[1] for level in pyramid(torch.randn(1, 3, 32, 32))] == [64, 64, 64]
    assert sum(p.numel() for p in pyramid.parameters()) == 9 * (3 * 32 + 32 * 64 + 2 * 64 * 64) + 2 * (32 + 3 * 64)


def test_every_block_that_is_used_gets_a_gradient() -> None:
    pyramid = ConvPyramid(channels=(4, 4, 4), out_indices=(2,))
    pyramid(torch.randn(2, 3, 32, 32))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pyramid.parameters())


@pytest.mark.parametrize("out_indices", [(), (4,), (0, 7), (-1,), (0, -5)])
def test_levels_that_are_not_there_are_refused(out_indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"out_indices .* must name some of the 4 blocks"):
        ConvPyramid(out_indices=out_indices)


def test_pooling_before_the_relu_has_the_same_gradient() -> None:
    block = conv_block(2, 3)
    convolution, norm, pool, relu = block
    x = torch.randn(4, 2, 9, 8)
    weights = torch.randn(4, 3, 4, 4)
    (block(x) * weights).sum().backward()
    ours = [p.grad.clone() for p in block.parameters()]
    block.zero_grad()
    (pool(relu(norm(convolution(x)))) * weights).sum().backward()
    for gradient, other in zip(ours, (p.grad for p in block.parameters()), strict=True):
        assert torch.equal(gradient, other)


# --- conv4 and LeNet -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "size", "width", "dim"), [(1, 28, 64, 64), (3, 84, 8, 200), (3, 16, 5, 5), (1, 47, 4, 16)]
)
def test_conv4_gives_what_it_says(channels: int, size: int, width: int, dim: int) -> None:
    encoder = Conv4(channels, width, size)
    assert encoder.out_channels == dim
    assert encoder(torch.randn(2, channels, size, size)).shape == (2, dim)


@pytest.mark.parametrize("training", [True, False])
def test_conv4_is_four_blocks_in_the_order_of_the_channels(training: bool) -> None:
    encoder = Conv4(3, 4, 37).double().train(training)
    x = images = torch.randn(3, 3, 37, 37, dtype=torch.float64)
    for block in encoder.blocks:
        x = by_hand(x, block, stride=1, pool=True, training=training)
    torch.testing.assert_close(encoder(images), x.reshape(3, -1))


def test_conv4_has_the_published_size_less_the_biases_that_batch_norm_takes_away() -> None:
    assert sum(p.numel() for p in Conv4().parameters()) == 111_936 - 4 * 64


def test_conv4_keeps_its_memory_layout_when_weights_are_loaded() -> None:
    encoder = Conv4()
    encoder.load_state_dict({key: value.contiguous() for key, value in Conv4().state_dict().items()})
    assert encoder.blocks[1][0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("channels", "size", "widths", "dim"), [(1, 28, (32, 64), 3136), (3, 13, (4, 5), 45)])
def test_lenet_is_its_operations(channels: int, size: int, widths: tuple[int, int], dim: int) -> None:
    encoder = LeNet(channels, widths, size)
    x = images = torch.randn(2, channels, size, size)
    for convolution in (encoder.layers[0], encoder.layers[3]):
        x = F.max_pool2d(F.relu(F.conv2d(x, convolution.weight, convolution.bias, padding=2)), 2)
    assert encoder.out_channels == dim
    torch.testing.assert_close(encoder(images), x.flatten(1))


@pytest.mark.parametrize("encoder", [Conv4(1, 4, 28), LeNet(1, (2, 3), 28)])
@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 1, 28, 32), (2, 1, 84, 84), (1, 28, 28)])
def test_images_of_another_shape_are_refused(encoder: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"was built for images \(B, 1, 28, 28\), not \({shape[0]}, "):
        encoder(torch.zeros(shape))


@pytest.mark.parametrize("arguments", [{"image_size": 15}, {"width": 0}, {"in_channels": 0}])
def test_conv4_sizes_out_of_range(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"Conv4 .* needs image_size >= 16, width and in_channels >= 1"):
        Conv4(**arguments)


@pytest.mark.parametrize("arguments", [{"image_size": 3}, {"widths": (4,)}, {"widths": (4, 0)}, {"in_channels": 0}])
def test_lenet_sizes_out_of_range(arguments: dict) -> None:
    with pytest.raises(ValueError, match="LeNet has two widths"):
        LeNet(**arguments)
