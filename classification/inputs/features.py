"""What a frozen encoder makes of a set of images, computed once and kept: the head trains on features."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import DATASETS
from torch import Tensor, nn

from repmet.classification.inputs.dataset import ImageSet
from repmet.data.files import tensor_cache
from repmet.errors import UserError
from repmet.experiments.running.provenance import versions

MIRROR = "RandomHorizontalFlip"


@DATASETS.register_module()
class FeatureSet(ImageSet):
    """Images whose batches are features (B, f), once `compute` has run a frozen encoder over them.

    Args:
        mirrored: compute the features of the mirror images too; a batch then takes either of them at random, which is what
            RandomHorizontalFlip does.
        kwargs: as `ImageSet`; the transform draws no random numbers.

    Attributes:
        features: (n, V, f), V = 2 if mirrored; None before `compute`.
    """

    def __init__(self, *args: Any, mirrored: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mirrored = mirrored
        self.features: Tensor | None = None

    @torch.no_grad()
    def compute(self, encoder: nn.Module, preprocessor: nn.Module, batch_size: int = 64) -> None:
        """Runs the encoder over all images, or reads what it gave for these images and weights before.

        Args:
            encoder: frozen.
            preprocessor: makes the encoder's inputs of a batch of this set.

        Raises:
            ValueError: the encoder is not frozen.
        """
        if self.features is not None:
            return
        if any(p.requires_grad for p in encoder.parameters()):
            raise UserError("features are computed once where nothing changes them: set model.encoder.frozen")
        digest = self._digest(encoder, preprocessor)
        views = [False, True] if self.mirrored else [False]
        self.features = torch.stack(
            [self._view(encoder, preprocessor, mirror, digest, batch_size) for mirror in views], dim=1
        )  # (n, V, f)

    def _view(self, encoder: nn.Module, preprocessor: nn.Module, mirror: bool, digest: str, batch_size: int) -> Tensor:
        """Features (n, f) of all images, or of their mirror images."""
        path = tensor_cache.CACHE / f"features_{digest}{'_mirrored' if mirror else ''}.pt"
        if isinstance(kept := tensor_cache.read(path), Tensor) and len(kept) == len(self):
            return kept
        encoder.eval()
        parts = []
        for part in torch.arange(len(self)).split(batch_size):
            images = preprocessor(super().__getitems__(part.tolist()))["inputs"]
            parts.append(encoder(images.flip(-1) if mirror else images).cpu())
        features = torch.cat(parts)
        tensor_cache.keep(features, path)
        return features

    def _digest(self, encoder: nn.Module, preprocessor: nn.Module) -> str:
        """Of all that the features depend on: weights, preprocessing, packages, kind of device, images."""
        device = next(encoder.parameters()).device.type
        facts = (encoder, preprocessor, self.transform, self.size, device, versions())
        digest = hashlib.sha256(repr(facts).encode())
        for tensor in (*encoder.state_dict().values(), *preprocessor.buffers()):
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        digest.update(self.digest().encode())
        return digest.hexdigest()[:24]

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        if self.features is None:
            return super().__getitems__(indices)
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        views = self.features.shape[1]
        view = torch.randint(views, (len(chosen),)) if views > 1 else torch.zeros(len(chosen), dtype=torch.int64)
        return {"inputs": self.features[chosen, view], "labels": self.labels[chosen], "indices": chosen}

    def plain(self) -> "FeatureSet":
        """The same set without mirror images."""
        same = copy.copy(self)
        same.mirrored = False
        same.features = None if self.features is None else self.features[:, :1]
        return same


def check_mirrored(train: Sequence[Mapping[str, Any]], test: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the training's transforms mirror images; all else must be the test's.

    Raises:
        ValueError: there are other differences, which features that are computed once cannot follow.
    """
    rest = [dict(step) for step in train if step.get("type") != MIRROR]
    if rest != [dict(step) for step in test] or any(s.get("p", 0.5) != 0.5 for s in train if s.get("type") == MIRROR):
        raise UserError(
            "data.cache_features: train_pipeline may differ from test_pipeline by RandomHorizontalFlip (p: 0.5) alone; "
            "what else is drawn at random needs the images: leave the option out"
        )
    return len(rest) < len(train)
