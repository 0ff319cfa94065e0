"""What `benchmarks.ops` measures: each case is an operator of csrc, the same by a peer, and what the result has to be.

On the CPU: float32, a map of 2x256x100x152 with 512 RoIs of 7x7 bins and 2 samples per axis, 6000 boxes at an IoU of 0.7,
and small sizes. On CUDA: all four dtypes and more sizes, and every result is compared with that of the CPU.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torchvision
from torch import Tensor

from repmet.detection.mmcv_ops.table import owner
from repmet.model_definitions import roi_layers, roi_layers_torchvision

IMAGE = (400, 608)  # height, width in pixels; the feature map of stride 4 is 100 x 152
STRIDES = (4, 8, 16, 32)
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 4e-3, torch.bfloat16: 3e-2}
Run = Callable[[], Tensor]
Pool = Callable[[Tensor, Tensor], Tensor]  # features and RoIs to (R, C, 7, 7)


@dataclass(frozen=True)
class Case:
    name: str
    ours: Run
    peer: str
    theirs: Run
    expected: Run  # the right result, from something other than `ours`
    tolerance: float = 0.0  # relative and absolute
    repeatable: bool = False  # two runs of `ours` must be equal bit for bit


def random_rois(count: int, batch: int) -> Tensor:
    """(R, 5): corners uniform over the image, sides uniform up to half of it, clipped to the image."""
    size = torch.tensor([IMAGE[1], IMAGE[0]], dtype=torch.float32)
    corner = torch.rand(count, 2) * size * 0.9
    far = torch.minimum(corner + torch.rand(count, 2) * size / 2 + 4, size)
    return torch.cat([torch.randint(0, batch, (count, 1)).float(), corner, far], dim=1)


def random_boxes(count: int, clustered: bool) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and scores (N,): uniform over 900 x 900 pixels, or in heaps of about 60 around one place."""
    if clustered:
        places = torch.rand(max(count // 60, 1), 2) * 900
        corner = places[torch.randint(0, len(places), (count,))] + torch.randn(count, 2) * 6
        size = torch.rand(count, 2) * 20 + 60
    else:
        corner, size = torch.rand(count, 2) * 900, torch.rand(count, 2) * 100 + 1
    return torch.cat([corner, corner + size], dim=1), torch.rand(count)


def gradient(pool: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor) -> Run:
    """Forward and backward; the result is the gradient to the first of `inputs`."""
    leaves = [input.detach().requires_grad_() for input in inputs]
    return lambda: torch.autograd.grad(pool(*leaves), leaves, grad)[0]


def deterministically(run: Run) -> Run:
    def wrapped() -> Tensor:
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            return run()
        finally:
            torch.use_deterministic_algorithms(False)

    return wrapped


def mmcv_ops():
    """mmcv's operators where mmcv is installed with kernels of its own, else None."""
    try:
        if owner() != "mmcv":
            return None
    except ModuleNotFoundError:
        return None
    import mmcv.ops

    return mmcv.ops


def pools(dtype: torch.dtype) -> tuple[dict[str, Pool], dict[str, dict[str, Pool]]]:
    """Our operators by name, and those of each peer."""
    ours = {
        "RoIAlign": lambda x, rois: roi_layers.roi_align(x, rois, 7, 0.25, 2),
        "RoIPool": lambda x, rois: roi_layers.roi_pool(x, rois, 7, 0.25),
    }
    theirs = {
        "RoIAlign": lambda x, rois: torchvision.ops.roi_align(x, rois, 7, 0.25, 2, True),
        "RoIPool": lambda x, rois: torchvision.ops.roi_pool(x, rois, 7, 0.25),
    }
    if dtype == torch.bfloat16:  # torchvision has no kernel; under autocast it goes through float32, and so here
        plain = theirs
        theirs = {name: lambda x, rois, f=pool: f(x.float(), rois.float()).to(x.dtype) for name, pool in plain.items()}
    peers = {"torchvision": theirs}
    mmcv = mmcv_ops()
    if mmcv is not None:
        peers["mmcv"] = {
            "RoIAlign": lambda x, rois: mmcv.roi_align(x, rois, (7, 7), 0.25, 2, "avg", True),
            "RoIPool": lambda x, rois: mmcv.roi_pool(x, rois, (7, 7), 0.25),
        }
    return ours, peers


def pooling_cases(device: str, count: int, dtype: torch.dtype, layout: str) -> Iterator[Case]:
    input = torch.randn(2, 256, IMAGE[0] // 4, IMAGE[1] // 4).to(dtype)
    if layout == "channels-last":
        input = input.contiguous(memory_format=torch.channels_last)
    rois, grad = random_rois(count, 2).to(dtype), torch.randn(count, 256, 7, 7).to(dtype)
    on_cpu = input, rois, grad
    input, rois, grad = (tensor.to(device) for tensor in on_cpu)
    size = f"{count} RoIs, {layout}" + ("" if dtype == torch.float32 else f", {str(dtype).removeprefix('torch.')}")
    ours, peers = pools(dtype)

    def forward_and_backward(pool: Pool, x: Tensor, boxes: Tensor, upstream: Tensor) -> Run:
        return gradient(lambda leaf: pool(leaf, boxes), [x], upstream)

    for name, pool in ours.items():
        mine = partial(pool, input, rois), forward_and_backward(pool, input, rois, grad)
        for peer, operators in peers.items():
            other = partial(operators[name], input, rois), forward_and_backward(operators[name], input, rois, grad)
            right = (partial(pool, *on_cpu[:2]), forward_and_backward(pool, *on_cpu)) if device == "cuda" else other
            for i, way in enumerate(("forward", "forward + backward")):
                yield Case(f"{name} {way}, {size}", mine[i], peer, other[i], right[i], TOLERANCE[dtype])
        repeated = deterministically(mine[1])
        if name == "RoIAlign":  # torchvision's RoIPool has no deterministic backward on CUDA
            theirs = deterministically(forward_and_backward(peers["torchvision"][name], input, rois, grad))
            case = f"{name} forward + backward, deterministic, {size}"
            yield Case(case, repeated, "torchvision", theirs, mine[1], TOLERANCE[dtype], repeatable=True)
        case = f"{name} forward + backward, deterministic against default, {size}"
        yield Case(case, repeated, "csrc, default", mine[1], mine[1], TOLERANCE[dtype], repeatable=True)


def pyramid_cases(device: str, count: int, dtype: torch.dtype) -> Iterator[Case]:
    """All levels in one operator, against torchvision's gather, pool and scatter over levels."""
    levels = [torch.randn(2, 256, IMAGE[0] // s, IMAGE[1] // s).to(dtype) for s in STRIDES]
    rois, grad = random_rois(count, 2).to(dtype), torch.randn(count, 256, 7, 7).to(dtype)
    order = rois[:, 0].argsort(stable=True)  # torchvision takes the boxes image by image
    on_cpu = list(levels), rois[order], grad
    levels, rois, grad = [level.to(device) for level in levels], rois[order].to(device), grad.to(device)
    # torchvision's constants, set so that level 0 ends at 112 pixels as it does for finest_scale = 56
    pooler = torchvision.ops.MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2, canonical_scale=224, canonical_level=4)
    boxes = [rois[rois[:, 0] == image][:, 1:] for image in range(2)]

    def fused(boxes: Tensor, *maps: Tensor) -> Tensor:
        return roi_layers.roi_align_pyramid(maps, boxes, 7, [1 / s for s in STRIDES], 2, False, 56.0)

    def loop(*maps: Tensor) -> Tensor:
        return pooler({str(i): level for i, level in enumerate(maps)}, boxes, [IMAGE, IMAGE])

    mine = partial(fused, rois, *levels), gradient(partial(fused, rois), levels, grad)
    theirs = partial(loop, *levels), gradient(loop, levels, grad)
    right = theirs
    if device == "cuda":
        right = partial(fused, on_cpu[1], *on_cpu[0]), gradient(partial(fused, on_cpu[1]), *on_cpu[::2])
    size = f"{count} RoIs, 4 levels" + ("" if dtype == torch.float32 else f", {str(dtype).removeprefix('torch.')}")
    for i, way in enumerate(("forward", "forward + backward")):
        yield Case(f"FPN RoIAlign {way}, {size}", mine[i], "torchvision", theirs[i], right[i], TOLERANCE[dtype])


def suppression_cases(device: str, count: int) -> Iterator[Case]:
    mmcv = mmcv_ops()
    for clustered in (False, True):
        on_cpu = *random_boxes(count, clustered), torch.randint(0, 80, (count,))
        boxes, scores, classes = (tensor.to(device) for tensor in on_cpu)
        kind = f"{count} boxes, {'clustered' if clustered else 'random'}"
        expected = partial(roi_layers_torchvision.nms, *on_cpu[:2], 0.7)
        peers = {"torchvision": partial(torchvision.ops.nms, boxes, scores, 0.7)}
        if mmcv is not None:
            peers["mmcv"] = lambda b=boxes, s=scores: mmcv.nms(b, s, 0.7)[1]
        for peer, theirs in peers.items():
            yield Case(f"NMS, {kind}", partial(roi_layers.nms, boxes, scores, 0.7), peer, theirs, expected)
        # torchvision shifts the classes apart, which rounds coordinates: the right result is that of a loop over classes
        yield Case(
            f"NMS of 80 classes, {kind}",
            partial(roi_layers.batched_nms, boxes, scores, classes, 0.7),
            "torchvision",
            partial(torchvision.ops.batched_nms, boxes, scores, classes, 0.7),
            partial(roi_layers_torchvision.batched_nms, *on_cpu, 0.7),
        )


def cases(device: str) -> Iterator[Case]:
    """All of them for 'cpu' or 'cuda', made one after the other."""
    if device == "cpu":
        for layout in ("NCHW", "channels-last"):
            for count in (512, 16):
                yield from pooling_cases(device, count, torch.float32, layout)
        for count in (512, 16):
            yield from pyramid_cases(device, count, torch.float32)
        for count in (6000, 1000, 100):
            yield from suppression_cases(device, count)
        return
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        for layout in ("NCHW", "channels-last"):
            for count in (16, 128, 512, 2000):
                yield from pooling_cases(device, count, dtype, layout)
    for dtype in (torch.float32, torch.float16):
        for count in (16, 128, 512, 2000):
            yield from pyramid_cases(device, count, dtype)
    for count in (100, 1000, 6000, 20_000):
        yield from suppression_cases(device, count)
