"""The shipped detector exported into the user's cache, compared with torch before anybody uses it."""

import os
import secrets
import shutil
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from repmet.data.files.atomic import make_folder, naming
from repmet.detection.checkpoint import open_detector
from repmet.detection.embedding.embedder import Embedder
from repmet.detection.episodes.open_image import OpenImage
from repmet.detection.export.parity import check_parity
from repmet.detection.export.write import export_detector
from repmet.detection.exported.cached import is_exported
from repmet.detection.exported.look import ExportedDetector

SIDES = ((320, 240), (190, 384))  # width and height of the pictures that the two are compared on


def export_into(folder: Path, runtime: str) -> None:
    """Exports the shipped detector, whole or not at all.

    Args:
        folder: `detection.exported.cached.cached_folder()`.
        runtime: that is compared with torch.

    Raises:
        ValueError: the runtime's results are others than torch's. MissingPackage: onnx is not installed.
        OSError: the cache cannot be written to.
    """
    part = make_folder(folder.parent) / f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        detector = open_detector()
        with naming(folder, part):
            export_detector(detector, part)
        embedder = Embedder(detector.model, detector.cfg.test_pipeline, spaces=("repmet",), share=False)
        check_parity(embedder, ExportedDetector(part, runtime), [_picture(*side) for side in SIDES])
        if not is_exported(folder):  # another process may have been quicker
            try:
                os.replace(part, folder)
            except OSError as error:
                if not is_exported(folder):
                    warnings.warn(f"{folder}: the export is not kept: {error.strerror}", stacklevel=2)
                    raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _picture(width: int, height: int) -> OpenImage:
    """Soft patches of colour with sharp edges here and there."""
    generator = np.random.default_rng(width)
    coarse = generator.integers(0, 256, (6, 8, 3), np.uint8)
    soft = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    for _ in range(6):
        x, y = int(generator.integers(0, width - 60)), int(generator.integers(0, height - 60))
        soft.paste(tuple(int(v) for v in generator.integers(0, 256, 3)), (x, y, x + 60, y + 45))
    return OpenImage.of(f"picture of {width}x{height}", soft)
