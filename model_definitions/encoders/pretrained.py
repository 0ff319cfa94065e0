"""Any torchvision classifier as an encoder: cut at a layer, averaged, with ImageNet weights, a file's, or none."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from repmet.errors import UserError, did_you_mean
from repmet.model_definitions.encoders.encoder import Encoder
from repmet.model_definitions.encoders.weight_files import check_state, read_state

_CLASSIFIERS = ("fc", "classifier", "heads", "head")
_OWN_NORMALISATION = ("inception_v3", "googlenet")  # trained on other statistics; they also have auxiliary classifiers


class TorchvisionEncoder(Encoder):
    """A torchvision model without its classifier, or up to `last_layer`; maps are averaged over a grid.

    Images come normalised by ImageNet's mean and standard deviation whatever the model: those that were trained on other
    statistics (Inception, GoogLeNet) convert them inside, once, with or without pretrained weights. Auxiliary classifiers
    are left out.

    Args:
        name: any of `torchvision.models.list_models()`, such as resnet18.
        weights: None starts at random; a name of torchvision's, such as DEFAULT, downloads; anything else is a file with a
            state dict in torchvision's keys. It may hold more than is needed, and less only as `fresh` says.
        last_layer: the layer whose output is taken, by its name in the model (layer3); None takes all but the classifier.
        pooled: maps are averaged over a grid of pooled x pooled cells and flattened.
        fresh: layers that start at random although there is a file, such as layer4.
        frozen: see `Encoder.freeze`.
        frozen_statistics: see `Encoder.freeze_statistics`. Needed to train weights whose batch norm is folded (mean 0,
            variance 1): following the batches would undo the folding.

    Shape:
        (B, 3, H, W) -> (B, channels * pooled^2).

    Raises:
        ValueError: no such model, layer or weights; weights are missing, or of another shape, for a part that is used.
        FileNotFoundError: the file of weights is not there.
    """

    def __init__(
        self,
        name: str,
        weights: str | Path | None = None,
        *,
        last_layer: str | None = None,
        pooled: int = 1,
        fresh: Iterable[str] = (),
        frozen: bool = False,
        frozen_statistics: bool = False,
    ) -> None:
        super().__init__()
        if pooled < 1:
            raise UserError(f"pooled is the side of a grid and must be at least 1, not {pooled}")
        named = (
            isinstance(weights, str)
            and name in models.list_models()
            and weights in models.get_model_weights(name).__members__
        )
        path = None if weights is None or named else Path(weights).expanduser()
        model = _build(name, str(weights) if named else None)
        self.trunk = _cut(model, name, last_layer)
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # quicker on a CPU
        if path is not None:
            load_weights(self.trunk, path, name, tuple(fresh))
        elif fresh:
            raise UserError(f"fresh names the layers that a file of weights leaves out; there is no file: weights={weights}")
        self.pooled = pooled
        side = getattr(model, "image_size", 224)  # transformers take one size only
        self.eval()
        with torch.no_grad():
            self.out_channels = self(torch.zeros(1, 3, side, side)).shape[1]
        self.train()
        if frozen_statistics:
            self.freeze_statistics()
        if frozen:
            self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        features = self.trunk(images)
        if isinstance(features, dict):
            features = features["features"]
        if features.dim() == 4:  # (B, C, h, w)
            features = F.adaptive_avg_pool2d(features, self.pooled)
        elif features.dim() != 2:
            raise ValueError(f"the last layer must give maps (B, C, h, w) or features (B, e), not {tuple(features.shape)}")
        return features.flatten(1)  # (B, e)


class Inception(TorchvisionEncoder):
    """Inception-v3 up to its last map, averaged: (B, 3, H, W) -> (B, 2048), sides of at least 75 pixels, 299 as trained.

    The classifier's dropout lies behind the cut. Arguments as for `TorchvisionEncoder`.
    """

    def __init__(self, weights: str | Path | None = None, *, last_layer: str = "Mixed_7c", **arguments: Any) -> None:
        super().__init__("inception_v3", weights, last_layer=last_layer, **arguments)


def _build(name: str, weights: str | None) -> nn.Module:
    """The whole model, with weights of torchvision's."""
    known = models.list_models(module=models)
    if name not in known:
        raise UserError(f"torchvision has no classifier {name!r}; {did_you_mean(name, known)}")
    options = {"aux_logits": False, "transform_input": True} if name in _OWN_NORMALISATION else {}
    if options and weights is None:
        options["init_weights"] = True
    try:
        return models.get_model(name, weights=weights, **options)
    except (URLError, ConnectionError, TimeoutError) as error:
        raise FileNotFoundError(
            f"weights {weights} of {name} are not there: {error}. Either give a local file: weights=FILE.pth; or start at "
            "random: weights=null"
        ) from None


def _cut(model: nn.Module, name: str, last_layer: str | None) -> nn.Module:
    """The model up to a layer, with the names of its parameters kept; its classifier goes in any case."""
    if last_layer is None and name.startswith("squeezenet"):
        last_layer = "features"  # its classifier is a convolution, after which it flattens
    if last_layer is None:
        classifier = next(child for child in reversed(dict(model.named_children())) if child in _CLASSIFIERS)
        setattr(model, classifier, nn.Identity())
        return model
    try:
        return create_feature_extractor(model, {last_layer: "features"}, suppress_diff_warning=True)
    except ValueError:
        layers = ", ".join(child for child, _ in model.named_children() if child not in _CLASSIFIERS)
        raise UserError(f"{name} has no layer {last_layer!r}; its outermost ones are {layers}") from None


def load_weights(trunk: nn.Module, path: Path, name: str, fresh: tuple[str, ...]) -> None:
    """Copies a file's weights into the trunk of `name`: everything that the trunk has but for the layers in `fresh`.

    Raises:
        ValueError: no such layer in `fresh`; no state dict, or one that lacks tensors or has them in other shapes.
        FileNotFoundError: no such file.
    """
    if not path.is_file():
        if name not in models.list_models():
            raise FileNotFoundError(f"weights {path} of {name}: no such file")
        names = ", ".join(models.get_model_weights(name).__members__)
        raise FileNotFoundError(f"weights {path} are neither a file nor one of torchvision's for {name} ({names})")
    trunk.load_state_dict(check_state(read_state(path), trunk.state_dict(), str(path), name, fresh), strict=False)
