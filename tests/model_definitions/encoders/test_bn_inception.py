"""BN-Inception: its sizes against the published ones, its blocks by hand, what images are converted to, files of weights."""

import pytest
import torch
import torch.nn.functional as F

from repmet.model_definitions.encoders import BNInception
from repmet.model_definitions.encoders.bn_inception import BLOCKS

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def encoder() -> BNInception:
    torch.manual_seed(0)
    encoder = BNInception()
    for name, buffer in encoder.trunk.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            buffer.normal_()
    return encoder.eval()


def test_published_sizes(encoder):
    # 11,295,240 weights are published for 1000 classes, of which the classifier has 1000 x 1024 + 1000
    assert sum(p.numel() for p in encoder.parameters()) == 11_295_240 - 1_025_000
    shapes, channels, side = {}, 192, 28
    for block, (single, _, three, _, double, pooled) in BLOCKS.items():
        channels = single + three + double + (pooled or channels)
        side = side if single else side // 2
        shapes[block] = (channels, side)
    assert shapes == {
        "3a": (256, 28), "3b": (320, 28), "3c": (576, 14), "4a": (576, 14), "4b": (576, 14), "4c": (608, 14),
        "4d": (608, 14), "4e": (1056, 7), "5a": (1024, 7), "5b": (1024, 7),
    }  # fmt: skip
    with torch.no_grad():
        assert encoder.trunk(torch.zeros(1, 3, 224, 224)).shape == (1, 1024, 7, 7)
        assert encoder(torch.zeros(2, 3, 64, 64)).shape == (2, encoder.out_channels)


def by_hand(trunk: torch.nn.Module, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    conv, norm = trunk.get_submodule(name), trunk.get_submodule(f"{name}_bn")
    y = F.conv2d(x, conv.weight, conv.bias, stride=stride, padding=conv.kernel_size[0] // 2)
    y = (y - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + 1e-5).sqrt()
    return (y * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)


@pytest.mark.parametrize(("block", "channels"), (("4c", 576), ("3c", 320), ("5b", 1024)))
def test_blocks_by_hand(encoder, block, channels):
    trunk, name, halves = encoder.trunk, f"inception_{block}_", block == "3c"
    x = torch.randn(2, channels, 8, 8)  # the last window of a stride of 2 reaches beyond the side
    stride = 2 if halves else 1
    three = by_hand(trunk, f"{name}3x3", by_hand(trunk, f"{name}3x3_reduce", x), stride)
    double = by_hand(trunk, f"{name}double_3x3_1", by_hand(trunk, f"{name}double_3x3_reduce", x))
    parts = [three, by_hand(trunk, f"{name}double_3x3_2", double, stride)]
    if halves:
        parts.append(F.pad(x, (0, 1, 0, 1), value=-torch.inf).unfold(2, 3, 2).unfold(3, 3, 2).amax((-1, -2)))
    else:
        windows = F.pad(x, (1,) * 4, value=-torch.inf if block == "5b" else 0.0).unfold(2, 3, 1).unfold(3, 3, 1)
        pooled = windows.amax((-1, -2)) if block == "5b" else windows.mean((-1, -2))
        parts = [by_hand(trunk, f"{name}1x1", x), *parts, by_hand(trunk, f"{name}pool_proj", pooled)]
    output = trunk._block(name, x, halves)
    torch.testing.assert_close(output, torch.cat(parts, 1), rtol=1e-3, atol=1e-3)


def test_images_become_what_caffe_had(encoder):
    seen = []
    handle = encoder.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    colour = torch.tensor([10.0, 120.0, 250.0])  # red, green, blue
    image = ((colour / 255 - MEAN) / STD).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    with torch.no_grad():
        encoder(image)
    handle.remove()
    torch.testing.assert_close(
        seen[0][0, :, 5, 5], torch.tensor([250.0 - 104, 120.0 - 117, 10.0 - 128]), rtol=1e-4, atol=1e-3
    )
    assert not {"factor", "offset"} & encoder.state_dict().keys()


def test_files_of_weights(encoder, tmp_path):
    path = tmp_path / "bn_inception.pth"
    state = encoder.trunk.state_dict()
    torch.save(state | {"last_linear.weight": torch.zeros(1000, 1024), "last_linear.bias": torch.zeros(1000)}, path)
    loaded = BNInception(path, frozen_statistics=True).train()
    assert all(torch.equal(a, b) for a, b in zip(loaded.trunk.state_dict().values(), state.values(), strict=True))
    assert not any(m.training for m in loaded.modules() if isinstance(m, torch.nn.BatchNorm2d))
    torch.save({key: value for key, value in state.items() if not key.startswith("inception_5b")}, path)
    with pytest.raises(
        ValueError, match=r"lacks \d+ of the \d+ tensors of BNInception as far as it is used: inception_5b_1x1"
    ):
        BNInception(path)
    with pytest.raises(FileNotFoundError, match=r"none\.pth of BNInception: no such file"):
        BNInception(tmp_path / "none.pth")
    with pytest.raises(ValueError, match="there is no file: weights=None"):
        BNInception(fresh=("inception_5b_1x1",))
    assert not any(p.requires_grad for p in BNInception(frozen=True).parameters())


def test_it_is_pytorchcvs(encoder):
    pytorchcv = pytest.importorskip("pytorchcv.models.bninception", reason="pytorchcv is not installed")
    theirs = pytorchcv.bninception().eval()
    # stage and unit, branch and layer, in the order in which the names stand here
    ours = [(m.weight, m.bias) for m in encoder.trunk.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in encoder.trunk.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    convs = [m for m in theirs.features.modules() if isinstance(m, torch.nn.Conv2d)]
    batch = [m for m in theirs.features.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(ours) == len(convs) == len(norms) == len(batch)
    with torch.no_grad():
        for (weight, bias), norm, conv, other in zip(ours, norms, convs, batch, strict=True):
            conv.weight.copy_(weight)
            conv.bias.copy_(bias)
            other.load_state_dict(norm.state_dict())
        x = torch.randn(1, 3, 224, 224)
        torch.testing.assert_close(encoder.trunk(x).mean((2, 3)), theirs.features(x).flatten(1), rtol=1e-3, atol=1e-3)
