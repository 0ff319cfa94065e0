"""The detectors whose latency is compared, each opened with its own imports alone; and the images that they look at.

    python -m benchmarks.latency_cases NAME DIR THREADS

prints the most memory, in MiB, that a process holds in which one of them has looked at ten images.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from repmet.benchmarks.latency_peers import FOLDER, PROMPTED, package_of
from repmet.benchmarks.memory import peak_memory

SIZE = (288, 384)  # height and width in pixels
CLASSES = 10
Detect = Callable[[np.ndarray], object]
TORCH = "the same by torch"
RUNTIMES = {
    "ONNX Runtime": ("onnxruntime", "float32"),
    "OpenVINO": ("openvino", "float32"),
    "ONNX Runtime INT8": ("onnxruntime", "int8"),
    "OpenVINO INT8": ("openvino", "int8"),
}
PEERS = {
    "torchvision's Faster R-CNN R50-FPN, 384 (BSD-3)": ("fasterrcnn_resnet50_fpn", 384),
    "torchvision's Faster R-CNN MobileNetV3, 320 (BSD-3)": ("fasterrcnn_mobilenet_v3_large_320_fpn", 320),
}


def peers() -> list[str]:
    """Other people's detectors; those of build/peers where they are installed."""
    prompted = [name for name in PROMPTED if (FOLDER / package_of(name)).is_dir()]
    if len(prompted) < len(PROMPTED):
        print(f"left out, not in {FOLDER.name}: {', '.join(set(PROMPTED) - set(prompted))}", file=sys.stderr)
    return [*PEERS, *prompted]


def scene(number: int) -> np.ndarray:
    """An image (H, W, 3) uint8 of soft shapes, different for every number."""
    generator = np.random.default_rng(number)
    height, width = SIZE
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    image = np.full((height, width, 3), generator.uniform(60, 200, 3), np.float32)
    for _ in range(12):
        y, x, side = generator.uniform(0, height), generator.uniform(0, width), generator.uniform(10, 60)
        inside = (np.abs(rows - y) < side) & (np.abs(columns - x) < side * generator.uniform(0.5, 2))
        image[inside] = generator.uniform(0, 255, 3)
    return (image + generator.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


def marks() -> dict[str, list[tuple[np.ndarray, tuple[int, int, int, int]]]]:
    """A mark of each of the ten classes."""
    return {f"thing {c}": [(scene(1000 + c), (40 + 10 * c, 60, 140 + 10 * c, 180))] for c in range(CLASSES)}


@contextlib.contextmanager
def opened(name: str, folder: Path, threads: int) -> Iterator[tuple[Detect, float]]:
    """One of the detectors, ready to look at an image, and the size of its files in MB."""
    if name in RUNTIMES:
        from repmet.graph_folder import weights_file
        from repmet.runtime import FewShotDetector as Exported

        runtime, precision = RUNTIMES[name]
        exported = Exported(folder / precision, runtime=runtime, threads=threads).learn(marks())
        yield exported.detect, weights_file(exported.folder / exported.facts.graph).stat().st_size / 1e6
        return
    import torch

    torch.set_num_threads(threads)
    if name == TORCH:
        from repmet.detection.few_shot_detector import FewShotDetector

        detector = FewShotDetector(batch_size=1).learn(marks())
        yield detector.detect, _megabytes(detector.model)
        return
    if name in PROMPTED:
        model, look_prompted = PROMPTED[name]()

        def prompted(image: np.ndarray) -> object:
            with torch.inference_mode():
                return look_prompted(image)

        yield prompted, _megabytes(model)
        return
    from torchvision.models import detection

    kind, side = PEERS[name]
    model = getattr(detection, kind)(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=side, max_size=side
    )
    model.eval()

    def look(image: np.ndarray) -> object:
        with torch.inference_mode():
            return model([torch.from_numpy(image).permute(2, 0, 1).float() / 255])

    yield look, _megabytes(model)


def _megabytes(model: object) -> float:
    return sum(p.numel() for p in model.state_dict().values()) * 4 / 1e6


if __name__ == "__main__":
    with opened(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])) as (detect, _):
        for number in range(10):
            detect(scene(number))
    print(peak_memory())
