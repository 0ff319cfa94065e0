"""The compiled RoI layers against torchvision's, and mmcv's where it has its kernels.

    python -m benchmarks.ops [--out FILE] [--device cpu|cuda] [--threads N] [--seconds S]

Every case is checked for equal results before it is timed. On the CPU: float32, a map of 2x256x100x152 with 512 RoIs of 7x7
bins and 2 samples per axis, 6000 boxes at an IoU of 0.7, and small sizes. On CUDA: more RoIs and dtypes.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator

import torch
import torchvision
from torch import Tensor

from benchmarks.measure import Comparison, compare, environment, format_table, write_json
from detection.mmcv_kernels import install
from model_definitions import roi_layers

IMAGE = (400, 608)  # height, width in pixels; the feature map of stride 4 is 100 x 152
STRIDES = (4, 8, 16, 32)


def random_rois(count: int, batch: int, device: str, dtype: torch.dtype) -> Tensor:
    """(R, 5): corners uniform over the image, sides uniform up to half of it, clipped to the image."""
    size = torch.tensor([IMAGE[1], IMAGE[0]], dtype=torch.float32)
    corner = torch.rand(count, 2) * size * 0.9
    far = torch.minimum(corner + torch.rand(count, 2) * size / 2 + 4, size)
    rois = torch.cat([torch.randint(0, batch, (count, 1)).float(), corner, far], dim=1)
    return rois.to(device, dtype)


def random_boxes(count: int, clustered: bool, device: str) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and scores (N,): uniform over 900 x 900 pixels, or in heaps of about 60 around one place."""
    if clustered:
        places = torch.rand(max(count // 60, 1), 2) * 900
        corner = places[torch.randint(0, len(places), (count,))] + torch.randn(count, 2) * 6
        size = torch.rand(count, 2) * 20 + 60
    else:
        corner, size = torch.rand(count, 2) * 900, torch.rand(count, 2) * 100 + 1
    return torch.cat([corner, corner + size], dim=1).to(device), torch.rand(count).to(device)


def with_backward(pool: Callable[[Tensor], Tensor], input: Tensor, grad: Tensor) -> Callable[[], Tensor]:
    leaf = input.detach().requires_grad_()
    return lambda: torch.autograd.grad(pool(leaf), leaf, grad)[0]


def deterministically(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            return function()
        finally:
            torch.use_deterministic_algorithms(False)

    return run


Case = tuple[str, Callable[[], Tensor], str, Callable[[], Tensor], float]  # name, ours, peer, theirs, tolerance


def mmcv_ops():
    """mmcv's operators where mmcv is installed with kernels of its own, else None."""
    try:
        if install() != "mmcv":
            return None
    except ModuleNotFoundError:
        return None
    import mmcv.ops

    return mmcv.ops


def pooling_cases(device: str, count: int, dtype: torch.dtype, layout: str) -> Iterator[Case]:
    input = torch.randn(2, 256, IMAGE[0] // 4, IMAGE[1] // 4).to(device, dtype)
    if layout == "channels-last":
        input = input.contiguous(memory_format=torch.channels_last)
    rois = random_rois(count, 2, device, dtype)
    grad = torch.randn(count, 256, 7, 7).to(device, dtype)
    half = dtype in (torch.float16, torch.bfloat16)
    tolerance = 0.05 if half else 1e-3
    ours = {
        "RoIAlign": lambda x: roi_layers.roi_align(x, rois, 7, 0.25, 2),
        "RoIPool": lambda x: roi_layers.roi_pool(x, rois, 7, 0.25),
    }
    peers = {
        "torchvision": {
            "RoIAlign": lambda x: torchvision.ops.roi_align(x, rois, 7, 0.25, 2, True),
            "RoIPool": lambda x: torchvision.ops.roi_pool(x, rois, 7, 0.25),
        }
    }
    mmcv = mmcv_ops()
    if mmcv is not None:
        peers["mmcv"] = {
            "RoIAlign": lambda x: mmcv.roi_align(x, rois, (7, 7), 0.25, 2, "avg", True),
            "RoIPool": lambda x: mmcv.roi_pool(x, rois, (7, 7), 0.25),
        }
    size = f"{count} RoIs, {layout}" + ("" if dtype == torch.float32 else f", {str(dtype).removeprefix('torch.')}")
    for name, mine in ours.items():
        for peer, functions in peers.items():
            theirs = functions[name]
            # Half precision moves a RoI by a part of a pixel in torchvision, which computes coordinates in it.
            checked = float("inf") if half else tolerance
            yield f"{name} forward, {size}", lambda f=mine: f(input), peer, lambda f=theirs: f(input), checked
            yield (
                f"{name} forward + backward, {size}",
                with_backward(mine, input, grad),
                peer,
                with_backward(theirs, input, grad),
                checked,
            )
    if device == "cuda":
        yield (
            f"RoIAlign forward + backward, deterministic, {size}",
            deterministically(with_backward(ours["RoIAlign"], input, grad)),
            "torchvision",
            deterministically(with_backward(peers["torchvision"]["RoIAlign"], input, grad)),
            float("inf") if half else tolerance,
        )
    yield (
        f"RoIAlign, deterministic against default, {size}",
        deterministically(with_backward(ours["RoIAlign"], input, grad)),
        "csrc, default",
        with_backward(ours["RoIAlign"], input, grad),
        tolerance,
    )


def pyramid_cases(device: str, count: int) -> Iterator[Case]:
    """All levels in one operator, against torchvision's gather, pool and scatter over levels."""
    levels = [torch.randn(2, 256, IMAGE[0] // s, IMAGE[1] // s, device=device) for s in STRIDES]
    rois = random_rois(count, 2, device, torch.float32)
    grad = torch.randn(count, 256, 7, 7, device=device)
    # torchvision's constants, set so that level 0 ends at 112 pixels as it does for finest_scale = 56
    pooler = torchvision.ops.MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2, canonical_scale=224, canonical_level=4)
    boxes = [rois[rois[:, 0] == image][:, 1:] for image in range(2)]
    order = torch.cat([(rois[:, 0] == image).nonzero()[:, 0] for image in range(2)])
    rois, grad = rois[order], grad[order]
    leaves = [level.requires_grad_() for level in levels]

    def mine() -> Tensor:
        return roi_layers.roi_align_pyramid(leaves, rois, 7, [1 / s for s in STRIDES], 2, False, 56.0)

    def theirs() -> Tensor:
        return pooler({str(i): level for i, level in enumerate(leaves)}, boxes, [IMAGE, IMAGE])

    def gradient(pool: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: torch.autograd.grad(pool(), leaves, grad)[0]

    yield f"FPN RoIAlign forward, {count} RoIs, 4 levels", mine, "torchvision", theirs, 1e-3
    yield (
        f"FPN RoIAlign forward + backward, {count} RoIs, 4 levels",
        gradient(mine),
        "torchvision",
        gradient(theirs),
        1e-3,
    )


def suppression_cases(device: str, count: int) -> Iterator[Case]:
    for clustered in (False, True):
        boxes, scores = random_boxes(count, clustered, device)
        kind = f"{count} boxes, {'clustered' if clustered else 'random'}"
        classes = torch.randint(0, 80, (count,), device=device)
        peers = {"torchvision": lambda b=boxes, s=scores: torchvision.ops.nms(b, s, 0.7)}
        mmcv = mmcv_ops()
        if mmcv is not None:
            peers["mmcv"] = lambda b=boxes, s=scores, m=mmcv: m.nms(b, s, 0.7)[1]
        for peer, theirs in peers.items():
            yield f"NMS, {kind}", lambda b=boxes, s=scores: roi_layers.nms(b, s, 0.7), peer, theirs, 0.0
        yield (
            f"NMS of 80 classes, {kind}",
            lambda b=boxes, s=scores, c=classes: roi_layers.batched_nms(b, s, c, 0.7),
            "torchvision",
            lambda b=boxes, s=scores, c=classes: torchvision.ops.batched_nms(b, s, c, 0.7),
            float("inf"),  # torchvision shifts the classes apart, which rounds coordinates and may decide otherwise
        )


def cases(device: str) -> Iterator[Case]:
    if device == "cpu":
        for layout in ("NCHW", "channels-last"):
            for count in (512, 16):
                yield from pooling_cases(device, count, torch.float32, layout)
        for count in (512, 16):
            yield from pyramid_cases(device, count)
        for count in (6000, 1000, 100):
            yield from suppression_cases(device, count)
        return
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for layout in ("NCHW", "channels-last"):
            for count in (16, 128, 512, 2000):
                yield from pooling_cases(device, count, dtype, layout)
    for count in (128, 512, 2000):
        yield from pyramid_cases(device, count)
    for count in (100, 1000, 6000, 20_000):
        yield from suppression_cases(device, count)


def check(name: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Raises AssertionError where the two differ: a quick wrong answer is worth nothing."""
    if tolerance == float("inf"):
        return
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, msg=lambda text: f"{name}: {text}")


def main(arguments: list[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(prog="benchmarks.ops", description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for a case (default: 3)")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU")
    if roi_layers.backend(options.device) != "csrc":
        parser.error(f"csrc is not compiled for {options.device}: python setup.py build develop")
    threads = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    env, results = environment(options.device), []
    try:
        for name, ours, peer, theirs, tolerance in cases(options.device):
            if options.only not in name:
                continue
            check(name, ours(), theirs(), tolerance)
            result = compare(name, ours, peer, theirs, seconds=options.seconds, device=options.device)
            results.append(result)
            print(f"{result.ratio:8.2f}x  {result.ours_ms:10.3f} ms  {result.peer_ms:10.3f} ms  {name}", flush=True)
    finally:
        torch.set_num_threads(threads)
    print("\n" + format_table(results))
    against = [r.ratio for r in results if r.peer == "torchvision"]
    if against:
        print(f"\ngeometric mean against torchvision: {statistics.geometric_mean(against):.2f}x, least {min(against):.2f}x")
    if options.out:
        write_json(options.out, env, results)
    return results


if __name__ == "__main__":
    main()
