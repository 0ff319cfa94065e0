"""The maps of a frozen backbone, kept on disk: an image goes through the backbone once, however long the training is.

A view is what the backbone sees of an image: the whole image, scaled to fit a square, perhaps mirrored. Its maps lie in half
precision under a digest of the backbone (name, weights, versions) and one of the image's bytes, so that nothing stale is
taken for fresh, and training and evaluation share them. Each file is written whole: an interrupted run goes on where it was.
"""

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from repmet.data.files import tensor_cache
from repmet.data.files.torch_file import check_sums
from repmet.errors import UserError
from repmet.experiments.running.provenance import versions

UNSEEN = ("LoadImageFromFile", "LoadAnnotations", "PackDetInputs")  # steps of a pipeline that change no pixel
Maps = tuple[Tensor, ...]  # a tensor (C_l, H_l, W_l) for every stride


@dataclass(frozen=True, order=True)
class View:
    """How an image is shown: scaled so that it just fits into `size` x `size` pixels, from left to right or mirrored."""

    size: int
    mirror: bool = False

    def __str__(self) -> str:
        return f"{self.size}{'m' if self.mirror else ''}"


def view_of(pipeline: Sequence) -> View | None:
    """What a test pipeline of mmdet shows of an image; None where that is more than fitting it into a square."""
    if not all(isinstance(step, Mapping) for step in pipeline):  # a transform that is built already may show anything
        return None
    steps = [step for step in pipeline if step["type"] not in UNSEEN]
    if len(steps) != 1 or steps[0]["type"] != "Resize" or not steps[0].get("keep_ratio"):
        return None
    sides = set(steps[0]["scale"])
    return View(sides.pop()) if len(sides) == 1 else None


def kept_maps_of(model: nn.Module, gigabytes: float = 20.0) -> "KeptMaps":
    """The kept maps of a detector's backbone, under the normalisation and padding of its preprocessor."""
    seen = model.data_preprocessor
    settings = [seen.mean.flatten().tolist(), seen.std.flatten().tolist(), seen.pad_size_divisor]
    return KeptMaps(model.backbone, settings, gigabytes)


class KeptMaps:
    """The kept maps of one backbone.

    Args:
        backbone: frozen; its weights give the folder's name.
        settings: whatever else changes what the backbone sees, such as the normalisation.
        gigabytes: at most so much is kept for this backbone. What does not fit is computed each time, with one warning.

    Raises:
        ValueError: the backbone is trained: its maps change.
    """

    def __init__(self, backbone: nn.Module, settings: object = None, gigabytes: float = 20.0) -> None:
        if any(parameter.requires_grad for parameter in backbone.parameters()):
            raise UserError("features: cached keeps the maps of a frozen backbone, and this one is trained; freeze it")
        digest = hashlib.sha256(repr((type(backbone).__name__, settings, versions())).encode())
        for name, value in backbone.state_dict().items():
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        for stage in getattr(backbone, "stages", ()):
            digest.update(str(stage).encode())
        self.folder = tensor_cache.CACHE / "maps" / digest.hexdigest()[:16]
        self.limit = int(gigabytes * 1e9)
        self._bytes: int | None = None  # what is kept, counted when first asked for
        self._full = False

    def path(self, image: str | Path, view: View) -> Path:
        """Where the maps of a view of an image lie."""
        return self.folder / f"{_image_digest(str(image))}_{view}.pt"

    def get(self, image: str | Path, view: View) -> Maps | None:
        """The maps (C_l, H_l, W_l) in half precision; None where nothing, or a damaged file (with a warning), is kept."""
        path = self.path(image, view)
        if not path.is_file():
            return None
        try:
            check_sums(path)
            return tuple(torch.load(path, weights_only=True))
        except Exception as error:  # whatever unpickling a damaged file raises
            warnings.warn(f"{path}: cannot be read ({type(error).__name__}); {image} is looked at anew", stacklevel=2)
            path.unlink(missing_ok=True)
            return None

    def put(self, image: str | Path, view: View, maps: Sequence[Tensor]) -> bool:
        """Keeps the maps of a view; False where the limit is reached or nothing can be written."""
        size = sum(level.numel() * 2 for level in maps)
        if self._full or self.kept_bytes() + size > self.limit:
            if not self._full:
                warnings.warn(
                    f"{self.folder}: {self.limit / 1e9:.1f} GB are kept, the limit; further images pass through the "
                    "backbone each time. Raise feature_cache.gigabytes, or use fewer views",
                    stacklevel=2,
                )
            self._full = True
            return False
        try:
            tensor_cache.save([level.half().clone() for level in maps], self.path(image, view))
        except OSError as error:
            warnings.warn(f"{self.folder}: maps are not kept: {error.strerror}", stacklevel=2)
            return False
        self._bytes = self.kept_bytes() + size
        return True

    def kept_bytes(self) -> int:
        """How much is kept for this backbone."""
        if self._bytes is None:
            self._bytes = sum(f.stat().st_size for f in os.scandir(self.folder)) if self.folder.is_dir() else 0
        return self._bytes


@lru_cache(maxsize=100_000)
def _image_digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:24]
