"""What the network made of an image, kept as a file: another shot, way, seed or rule needs no network at all.

A file lies under a digest of the detector (weights, settings, our code, the packages, kind of device) and one of the image
(its bytes and annotated boxes), so that nothing stale is found. Each batch is written as it comes: an interrupted evaluation
goes on where it was. The folder may be deleted at any time.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from repmet.data.files import tensor_cache
from repmet.data.sources.voc import ImageRecord
from repmet.detection.checkpoint import Detector
from repmet.detection.embedding.embedded_image import EmbeddedImage
from repmet.detection.episodes.open_image import OpenImage
from repmet.experiments.running.provenance import versions

# What may change what the network gives; the stages of detection after this one, and the commands, cannot.
_CODE = (
    *(f"detection/{part}" for part in ("embedding", "episodes", "modules", "mmcv_ops")),
    *(f"detection/{part}.py" for part in ("checkpoint", "dataset", "shipped")),
    "model_definitions",
    "csrc",
    "data/files",
)


class EmbeddingCache:
    """The embedded images of one detector.

    Args:
        detector: whose embeddings these are.
        spaces: what the kept embeddings come from, of `embedded_image.SPACES`.
        root: the folder of caches; None: ours.
    """

    def __init__(self, detector: Detector, spaces: Sequence[str], root: str | Path | None = None) -> None:
        cfg = detector.cfg
        device = next(detector.model.parameters()).device.type
        digest = sha256(repr((cfg.model, cfg.test_pipeline, tuple(spaces), device, versions())).encode())
        for file in _code():
            digest.update(file.read_bytes())
        for name, value in detector.model.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        self.folder = Path(root or tensor_cache.CACHE) / "embeddings" / digest.hexdigest()[:16]

    def beside(self, name: str) -> "EmbeddingCache":
        """A cache of its own for something else that the same detector makes of the same images."""
        other = copy.copy(self)
        other.folder = self.folder.with_name(f"{self.folder.name}_{name}")
        return other

    def _path(self, record: ImageRecord) -> Path:
        return self.folder / f"{image_digest(record)[:24]}.pt"

    def get(self, record: ImageRecord) -> EmbeddedImage | None:
        """What is kept of an image, None where nothing is; of a damaged file too, with a warning."""
        path = self._path(record)
        kept = tensor_cache.read(path)
        try:
            return None if kept is None else EmbeddedImage(**kept)
        except TypeError:
            warnings.warn(f"{path}: keeps something else; {record.id} is embedded anew", stacklevel=2)
            return None

    def put(self, record: ImageRecord, image: EmbeddedImage) -> None:
        """Keeps an embedded image; where the folder cannot be written to, warns and goes on without."""
        copies: dict[int, Tensor] = {}  # embeddings that are the same tensor stay so
        tensor_cache.keep({name: _owned(value, copies) for name, value in vars(image).items()}, self._path(record))


def image_digest(record: ImageRecord) -> str:
    """Of an image's bytes and its annotated boxes."""
    digest = sha256(record.pixels if isinstance(record, OpenImage) else Path(record.path).read_bytes())
    digest.update(record.boxes.tobytes())
    return digest.hexdigest()


def _code() -> list[Path]:
    """The files that may change what the network gives."""
    root = Path(__file__).parents[2]
    folders = [path for name in _CODE for path in (root / name).rglob("*.[pch]*") if path.suffix != ".pyc"]
    return sorted([*folders, *(root / name for name in _CODE if name.endswith(".py"))])


def _owned(value: Tensor | Mapping[str, Tensor] | None, copies: dict[int, Tensor]) -> Tensor | dict[str, Tensor] | None:
    """Tensors apart from the batch that they were cut from, whose whole memory a file would hold else."""
    if isinstance(value, Mapping):
        return {name: _owned(part, copies) for name, part in value.items()}
    return None if value is None else copies.setdefault(id(value), value.clone())
