"""Says what is installed, what works, and for each failure the line that repairs it: `python -m experiments.doctor`."""

import argparse
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from repmet.experiments.finding import Finding
from repmet.experiments.finding import installed as _installed
from repmet.experiments.optional_parts import check_command, check_extras, check_weights

PROG = "python -m experiments.doctor"
REPAIR_TORCH = "pip install -r requirements.lock"
REPAIR_DETECTION = "make setup (or: pip install -r requirements.lock; classification does without)"
REPAIR_OPS = "python setup.py build develop"


def main(argv: Sequence[str] | None = None, prog: str = PROG) -> int:
    """Prints every finding; 1 if something that is needed failed."""
    argparse.ArgumentParser(prog=prog, description=__doc__.partition(":")[0] + ".").parse_args(argv)
    failed = False
    for check in CHECKS:
        try:
            findings = list(check())
        except Exception as error:
            findings = [Finding("FAIL", check.__name__, f"{type(error).__name__}: {_first_line(error)}", REPAIR_TORCH)]
        for finding in findings:
            failed |= finding.level == "FAIL"
            print(finding, flush=True)
    print("something that is needed does not work" if failed else "all that is needed works")
    return int(failed)


def check_python() -> Iterator[Finding]:
    said = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if _version(platform.python_version()) < (3, 10):
        yield Finding("FAIL", "Python", said, "install Python 3.10 or newer and make the environment anew")
    else:
        yield Finding("ok", "Python", said)


def check_torch() -> Iterator[Finding]:
    torch = _import("torch")
    if isinstance(torch, Finding):
        yield torch
        return
    if _version(torch.__version__) < (2, 10):
        yield Finding("FAIL", "torch", f"{torch.__version__}; 2.10 or newer is needed", REPAIR_TORCH)
    else:
        yield Finding("ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    vision = _import("torchvision")
    if isinstance(vision, Finding):
        yield vision
        return
    # torchvision 0.N belongs to torch 2.(N - 15): its compiled part loads beside no other
    installed_torch, belongs = _version(torch.__version__), _version(vision.__version__)
    if installed_torch[0] == 2 and belongs[1] - 15 != installed_torch[1]:
        said = f"{vision.__version__} belongs to torch 2.{belongs[1] - 15}, not to {torch.__version__}"
        yield Finding("FAIL", "torchvision", said, f'pip install "torchvision==0.{installed_torch[1] + 15}.*"')
    else:
        yield Finding("ok", "torchvision", vision.__version__)


def check_numpy() -> Iterator[Finding]:
    numpy = _import("numpy")
    yield numpy if isinstance(numpy, Finding) else Finding("ok", "numpy", numpy.__version__)


def check_opencv() -> Iterator[Finding]:
    installed = {name: _installed(name) for name in ("opencv-python-headless", "opencv-python", "opencv-contrib-python")}
    others = [name for name, version in installed.items() if version and not name.endswith("headless")]
    if others:
        said = f"{others[0]} is installed, which needs libGL"
        repair = f"pip uninstall -y {' '.join(others)} && pip install --force-reinstall --no-deps opencv-python-headless"
        yield Finding("FAIL", "OpenCV", said, repair)
        return
    cv2 = _import("cv2", repair="pip install opencv-python-headless")
    if isinstance(cv2, Finding):
        yield cv2
    else:
        yield Finding("ok", "OpenCV", f"{cv2.__version__}, headless")


def check_mm_packages() -> Iterator[Finding]:
    engine = _import("mmengine")
    yield engine if isinstance(engine, Finding) else Finding("ok", "mmengine", engine.__version__)
    for name, distribution in (("mmcv", "onedl-mmcv"), ("mmdet", "onedl-mmdetection")):
        version = _installed(distribution)
        upstream = _installed(name)
        if version:
            module = _import(name, repair=REPAIR_DETECTION)
            yield module if isinstance(module, Finding) else Finding("ok", name, f"{version} ({distribution})")
        elif upstream:
            said = f"{upstream}: upstream's, which breaks on this torch; {distribution} goes on with it"
            yield Finding("warn", name, said, f"pip uninstall -y {name} && {REPAIR_DETECTION}")
        else:
            yield Finding("warn", name, "not installed: no detection", REPAIR_DETECTION)


def check_compiler() -> Iterator[Finding]:
    name = os.environ.get("CXX") or next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
    if name is None or shutil.which(name) is None:
        said = f"{name or 'none'}: the ops come from torchvision, slower"
        yield Finding("warn", "C++ compiler", said, "apt-get install g++ && " + REPAIR_OPS)
    else:
        yield Finding("ok", "C++ compiler", _output([name, "--version"]).split("\n")[0])


def check_cuda() -> Iterator[Finding]:
    import torch

    built = torch.version.cuda
    if built is None or not torch.cuda.is_available():
        said = "none that torch sees" + ("" if built else " (this torch is built for the CPU)")
        if shutil.which("nvidia-smi"):
            repair = "install a torch built for your driver's CUDA"
            yield Finding("warn", "GPU", f"{said}, though nvidia-smi is there", repair)
        else:
            yield Finding("ok", "GPU", said)
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(i)
        said = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, sm_{properties.major}{properties.minor}"
        yield Finding("ok", f"GPU {i}", said)
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=os.path.join(home, "bin"))
    if nvcc is None:
        needed = torch.cuda.is_available()
        said = "no nvcc" + (f": the CUDA ops cannot be compiled for torch's CUDA {built}" if needed else " (and no GPU)")
        repair = f"install the CUDA {built} toolkit, set CUDA_HOME, {REPAIR_OPS}" if needed else ""
        yield Finding("warn" if needed else "ok", "CUDA toolkit", said, repair)
        return
    release = _output([nvcc, "--version"]).partition("release ")[2].partition(",")[0]
    if built is None or release.split(".")[0] == built.split(".")[0]:
        yield Finding("ok", "CUDA toolkit", f"{release}, torch has {built or 'none'}")
    else:
        said = f"{release}, but torch is built with {built}: another major version"
        yield Finding("FAIL", "CUDA toolkit", said, f"install the CUDA {built} toolkit and set CUDA_HOME to it")


def check_ops() -> Iterator[Finding]:
    """Runs each compiled op once on a case whose result is known, and says how long it takes."""
    import torch

    layers = _import("repmet.model_definitions.roi_layers", repair=REPAIR_OPS)
    if isinstance(layers, Finding):
        yield layers
        return
    for device in ["cpu"] + (["cuda"] if torch.cuda.is_available() else []):
        backend = layers.backend(device)
        if backend != "csrc":
            yield Finding("warn", f"ops {device}", f"from {backend}, slower: csrc is not compiled for it", REPAIR_OPS)
        # A plane: bilinear averages of it are its values at the bins' centres, the maxima those at their last pixels.
        plane = torch.arange(32.0, device=device).expand(1, 64, 32, 32).contiguous()
        roi = torch.tensor([[0.0, 8.0, 8.0, 16.0, 16.0]], device=device)
        boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], device=device)
        scores = torch.tensor([0.9, 0.8, 0.7], device=device)
        cases: list[tuple[str, Callable[[], Any], torch.Tensor]] = [
            (
                "roi_align",
                lambda p=plane, r=roi: layers.roi_align(p, r, (2, 2), 1.0, aligned=True)[0, 0, 0],
                torch.tensor([9.5, 13.5]),
            ),
            ("roi_pool", lambda p=plane, r=roi: layers.roi_pool(p, r, (2, 2), 1.0)[0, 0, 0], torch.tensor([12.0, 16.0])),
            ("nms", lambda b=boxes, s=scores: layers.nms(b, s, 0.5), torch.tensor([0, 2])),
        ]
        for name, run, expected in cases:
            yield _run_op(f"{name} {device}", run, expected, backend)


def _run_op(name: str, run: Callable[[], Any], expected: Any, backend: str) -> Finding:
    import torch

    times = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever serves the op is said in the report
            result = run().detach().cpu()
        for _ in range(5):
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    except Exception as error:
        return Finding("FAIL", name, f"{type(error).__name__}: {_first_line(error)}", REPAIR_OPS)
    if result.shape != expected.shape or not torch.allclose(result.to(expected), expected, atol=1e-4):
        return Finding("FAIL", name, f"gives {result.tolist()}, not {expected.tolist()}", REPAIR_OPS)
    return Finding("ok", name, f"{1e3 * sorted(times)[2]:.2f} ms ({backend})")


CHECKS: list[Callable[[], Iterator[Finding]]] = [
    check_python,
    check_command,
    check_torch,
    check_numpy,
    check_opencv,
    check_mm_packages,
    check_compiler,
    check_cuda,
    check_ops,
    check_extras,
    check_weights,
]


def _import(name: str, repair: str = REPAIR_TORCH) -> Any:
    """The module, or the finding that it cannot be imported."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken binary raises OSError or RuntimeError
        return Finding("FAIL", name.rpartition(".")[2], f"cannot be imported: {_first_line(error)}", repair)


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split("+")[0].split(".")[:2]
    return int(major), int(minor)


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except OSError as error:
        return _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n") or [""])[0]


if __name__ == "__main__":
    sys.exit(main())
