"""The Python face of csrc: registration, argument checks, AMP, determinism and the way through torchvision."""

import warnings

import pytest
import torch
from torch.library import opcheck

from repmet.model_definitions import roi_layers

compiled = pytest.mark.skipif(roi_layers.backend() != "csrc", reason="csrc is not compiled")
gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or roi_layers.backend("cuda") != "csrc", reason="needs a GPU and csrc compiled for it"
)

BOXES = torch.tensor([[0.0, 1.0, 1.0, 9.0, 8.0], [1.0, -3.0, 2.0, 30.0, 11.0], [1.0, 5.0, 5.0, 5.0, 5.0]])


@pytest.fixture
def without_csrc(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.setattr(roi_layers, "_DEVICES", frozenset())
    monkeypatch.setattr(roi_layers, "_NOTICED", {"cpu"})


def operators() -> dict:
    input = torch.randn(2, 18, 12, 10, requires_grad=True)
    coarse = torch.randn(2, 18, 6, 5, requires_grad=True)
    grad = torch.randn(3, 18, 3, 2)
    argmax = torch.randint(-1, 120, (3, 18, 3, 2), dtype=torch.int32)
    box, score = BOXES[:, 1:].contiguous(), torch.tensor([0.3, 0.9, 0.4])
    size = (2, 18, 12, 10)
    return {
        "roi_align": (input, BOXES, 3, 2, 0.5, 0, True),
        "roi_align_backward": (grad, BOXES, *size, 0.5, 2, True, True, False),
        "roi_align_pyramid": ([input, coarse], BOXES, 3, 2, [0.5, 0.25], 2, True, 4.0),
        "roi_align_pyramid_backward": (grad, BOXES, 2, 18, [12, 6], [10, 5], [0.5, 0.25], 2, True, 4.0, False, True),
        "roi_pool": (input, BOXES, 3, 2, 0.5),
        "roi_pool_backward": (grad, BOXES, argmax, *size, 0.5, False, False),
        "nms": (box, score, 0.5),
        "batched_nms": (box, score, torch.tensor([1, 0, 1]), 0.5),
    }


@compiled
@pytest.mark.parametrize("name", list(operators()))
def test_opcheck(name) -> None:
    opcheck(getattr(torch.ops.repmet, name).default, operators()[name])


@compiled
def test_torch_compile_without_graph_breaks() -> None:
    def pooled(input: torch.Tensor, coarse: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        parts = [
            roi_layers.roi_align(input, boxes, 3, 0.5).sin(),
            roi_layers.roi_pool(input, boxes, 3, 0.5).sin(),
            roi_layers.roi_align_pyramid([input, coarse], boxes, 3, [0.5, 0.25]).sin(),
        ]
        return torch.stack(parts).sum()

    input, coarse = torch.randn(2, 4, 12, 10, requires_grad=True), torch.randn(2, 4, 6, 5)
    compiled_function = torch.compile(pooled, fullgraph=True, backend="aot_eager")
    for boxes in (BOXES, BOXES[:2]):
        expected, result = pooled(input, coarse, boxes), compiled_function(input, coarse, boxes)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(torch.autograd.grad(result, input)[0], torch.autograd.grad(expected, input)[0])
    suppress = torch.compile(lambda b, s: roi_layers.nms(b, s, 0.5) + 1, backend="aot_eager")
    assert torch.equal(suppress(BOXES[:, 1:], torch.ones(3)), roi_layers.nms(BOXES[:, 1:], torch.ones(3), 0.5) + 1)


@compiled
def test_meta_tensors_give_shapes() -> None:
    assert roi_layers.roi_align(torch.empty(2, 3, 8, 8, device="meta"), BOXES.to("meta"), (3, 2)).shape == (3, 3, 3, 2)


@pytest.mark.parametrize("way", ["csrc", "torchvision"])
def test_wrong_arguments_raise(way, request) -> None:
    if way == "torchvision":
        request.getfixturevalue("without_csrc")
    elif roi_layers.backend() != "csrc":
        pytest.skip("csrc is not compiled")
    input = torch.randn(2, 3, 8, 8)
    for function in (roi_layers.roi_align, roi_layers.roi_pool):
        for arguments, message in (
            ((input[0], BOXES, 3), r"N, C, H, W"),
            ((input.long(), BOXES, 3), "floating point"),
            ((input, BOXES[:, 1:], 3), r"\(R, 5\)"),
            ((input, BOXES[0], 3), r"\(R, 5\)"),
            ((input, BOXES.double(), 3), "must match"),
            ((input, BOXES.to("meta"), 3), "meta"),
            ((input, BOXES, (3, 3, 3)), "height, width"),
        ):
            with pytest.raises(ValueError, match=message):
                function(*arguments)
        for column in (2.0, -1.0, float("nan")):
            wrong = BOXES.clone()
            wrong[1, 0] = column
            with pytest.raises(RuntimeError, match="batch of 2"):
                function(input, wrong, 3)


@compiled
def test_the_operators_themselves_raise_and_never_crash() -> None:
    """torch.ops.repmet may be called without the Python face."""
    ops, input, grad = torch.ops.repmet, torch.randn(2, 3, 8, 8), torch.randn(3, 3, 2, 2)
    argmax = torch.zeros(3, 3, 2, 2, dtype=torch.int32)
    for call in (
        lambda: ops.roi_align(input[0], BOXES, 2, 2, 1.0, 2, True),
        lambda: ops.roi_align(input, BOXES.double(), 2, 2, 1.0, 2, True),
        lambda: ops.roi_align(input.int(), BOXES, 2, 2, 1.0, 2, True),
        lambda: ops.roi_align(input, BOXES, 0, 2, 1.0, 2, True),
        lambda: ops.roi_align(input, BOXES, 2, 10**9, 1.0, 2, True),
        lambda: ops.roi_align(input, BOXES, 2, 2, 0.0, 2, True),
        lambda: ops.roi_align(input, BOXES, 2, 2, float("nan"), 2, True),
        lambda: ops.roi_align(input, BOXES, 2, 2, 1.0, 10**9, True),
        lambda: ops.roi_align_backward(grad, BOXES, 1, 3, 8, 8, 1.0, 2, True, False, False),
        lambda: ops.roi_align_backward(grad, BOXES, 2, 4, 8, 8, 1.0, 2, True, False, False),
        lambda: ops.roi_align_backward(grad, BOXES[:2], 2, 3, 8, 8, 1.0, 2, True, False, False),
        lambda: ops.roi_align_backward(grad, BOXES, 2, 3, -8, 8, 1.0, 2, True, False, False),
        lambda: ops.roi_align_backward(grad, BOXES, 2, 3, 2**31, 2**31, 1.0, 2, True, False, False),
        lambda: ops.roi_align_pyramid([], BOXES, 2, 2, [], 2, True, 56.0),
        lambda: ops.roi_align_pyramid([input], BOXES, 2, 2, [1.0, 2.0], 2, True, 56.0),
        lambda: ops.roi_pool(input, BOXES + 5, 2, 2, 1.0),
        lambda: ops.roi_pool_backward(grad, BOXES, argmax.long(), 2, 3, 8, 8, 1.0, False, False),
        lambda: ops.roi_pool_backward(grad, BOXES, argmax[:2], 2, 3, 8, 8, 1.0, False, False),
        lambda: ops.nms(BOXES, torch.ones(3), 0.5),
        lambda: ops.nms(BOXES[:, 1:], torch.ones(2), 0.5),
    ):
        with pytest.raises(RuntimeError, match=r"repmet::|allocate"):
            call()


@compiled
def test_second_order_gradients_are_refused() -> None:
    input = torch.randn(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(roi_layers.roi_align(input, BOXES, 2).square().sum(), input, create_graph=True)
    with pytest.raises(RuntimeError, match="not differentiable twice"):
        gradient.sum().backward()


@pytest.mark.parametrize("way", ["csrc", "torchvision"])
def test_autocast_on_the_cpu(way, request) -> None:
    """bfloat16 features beside float32 boxes, as a detector under AMP has them: bfloat16 comes out, gradients flow."""
    if way == "torchvision":
        request.getfixturevalue("without_csrc")
    convolution, image = torch.nn.Conv2d(3, 16, 3, padding=1), torch.randn(2, 3, 12, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = convolution(image)
        for pool in (roi_layers.roi_align, roi_layers.roi_pool):
            pooled = pool(features, BOXES, 3)
            assert features.dtype == pooled.dtype == torch.bfloat16
    pooled.float().sum().backward()
    assert convolution.weight.grad.isfinite().all()


@compiled
def test_deterministic_mode() -> None:
    input = torch.randn(2, 3, 8, 8, requires_grad=True)
    grads = []
    try:
        torch.use_deterministic_algorithms(True)
        for _ in range(2):
            total = roi_layers.roi_align(input, BOXES, 3).sum() + roi_layers.roi_pool(input, BOXES, 3).sum()
            grads.append(torch.autograd.grad(total, input)[0])
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(*grads)


@compiled
def test_torchvision_gives_the_same(monkeypatch) -> None:
    """What serves when csrc is missing has the same values, gradients and answers to odd boxes."""
    pytest.importorskip("torchvision")
    levels = [torch.randn(2, 18, 12, 10, requires_grad=True), torch.randn(2, 18, 6, 5, requires_grad=True)]
    boxes = torch.cat([BOXES, torch.full((1, 5), float("nan"))])
    boxes[-1, 0] = 1
    scores, classes = torch.rand(4), torch.tensor([3, 1, 3, 1])

    def everything() -> list[torch.Tensor]:
        results = [
            roi_layers.roi_align(levels[0], boxes, 3, 0.5, 2),
            roi_layers.roi_pool(levels[0], boxes, (3, 2), 0.5),
            roi_layers.roi_align_pyramid(levels, boxes, 3, [0.5, 0.25], 2, True, 4.0),
        ]
        gradient = torch.autograd.grad(sum(result.square().sum() for result in results), levels)
        keep = [roi_layers.nms(boxes[:, 1:], scores, 0.1), roi_layers.batched_nms(boxes[:, 1:], scores, classes, 0.1)]
        return [*results, *gradient, *keep]

    ours = everything()
    monkeypatch.setattr(roi_layers, "_DEVICES", frozenset())
    monkeypatch.setattr(roi_layers, "_NOTICED", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        theirs = everything()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    notices = [str(w.message) for w in caught if "RoI layers" in str(w.message)]
    assert len(notices) == 1
    assert "setup.py build develop" in notices[0]
    assert roi_layers.backend() == "torchvision"


@compiled
def test_served_by_torchvision_for_a_while() -> None:
    pytest.importorskip("torchvision")
    input = torch.randn(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ZeroDivisionError), roi_layers.served_by_torchvision():
            assert roi_layers.backend() == "torchvision"
            theirs = roi_layers.roi_align(input, BOXES, 3)
            raise ZeroDivisionError
    assert roi_layers.backend() == "csrc"
    torch.testing.assert_close(roi_layers.roi_align(input, BOXES, 3), theirs)


@gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("deterministic", [False, True])
def test_cuda_equals_cpu(dtype, deterministic) -> None:
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(200, 2, generator=generator) * 80 - 20
    size = torch.rand(200, 2, generator=generator) * 90
    boxes = torch.cat([torch.randint(0, 2, (200, 1), generator=generator).float(), corner, corner + size], dim=1).to(dtype)
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if dtype in (torch.float16, torch.bfloat16) else {"rtol": 1e-4, "atol": 1e-4}
    levels = [torch.randn(2, 20, 32 // 2**i, 28 // 2**i, generator=generator).to(dtype) for i in range(3)]

    def everything(device: str) -> list[torch.Tensor]:
        inputs = [level.to(device).requires_grad_() for level in levels]
        rois, results = boxes.to(device), []
        for sampling_ratio in (0, 2):
            results.append(roi_layers.roi_align(inputs[0], rois, (5, 7), 0.5, sampling_ratio))
            results.append(roi_layers.roi_align_pyramid(inputs, rois, 7, [0.5, 0.25, 0.125], sampling_ratio, True, 20.0))
        results.append(roi_layers.roi_pool(inputs[0], rois, 7, 0.5))
        gradient = torch.autograd.grad(sum(result.float().sin().sum() for result in results), inputs)
        return [tensor.detach().cpu() for tensor in [*results, *gradient]]

    torch.use_deterministic_algorithms(deterministic)
    try:
        cpu, cuda, again = everything("cpu"), everything("cuda"), everything("cuda")
    finally:
        torch.use_deterministic_algorithms(False)
    for expected, result, repeated in zip(cpu, cuda, again, strict=True):
        torch.testing.assert_close(result, expected, **tolerance)
        if deterministic:
            assert torch.equal(result, repeated)


@gpu
def test_cuda_suppression_equals_cpu() -> None:
    for count in (0, 1, 63, 64, 65, 1000, 20_000):
        corner = torch.rand(count, 2) * 300
        boxes = torch.cat([corner, corner + torch.rand(count, 2) * 60], dim=1)
        scores, classes = torch.rand(count), torch.randint(0, 5, (count,))
        keep = roi_layers.nms(boxes.cuda(), scores.cuda(), 0.5).cpu()
        assert torch.equal(keep, roi_layers.nms(boxes, scores, 0.5))
        keep = roi_layers.batched_nms(boxes.cuda(), scores.cuda(), classes.cuda(), 0.5).cpu()
        assert torch.equal(keep, roi_layers.batched_nms(boxes, scores, classes, 0.5))
