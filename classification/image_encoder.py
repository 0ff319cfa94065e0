"""Pictures to embeddings: an encoder by its name or section, or a trained method's, with the transforms of its test."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import repmet.classification.methods  # noqa: F401  (registers the encoders)
from repmet.classification.checkpoint import find_checkpoint
from repmet.classification.encoder import fitted_pixels
from repmet.classification.inputs.transforms import build_transform
from repmet.errors import UserError
from repmet.experiments.config.loading import check_experiment
from repmet.experiments.running.checkpoints import check_weights, experiment_of, load_checkpoint
from repmet.model_definitions.weights_digest import weights_digest

DEFAULT = {"type": "TimmEncoder", "name": "tf_efficientnet_lite0", "weights": "package"}
SIDE = 224  # pixels, where neither an experiment nor the network says
TRAINED_SIGMA = 0.5**0.5  # a softmax of negative squared distances, as Prototypical Networks are trained by
_NORMALISED = {
    3: ({"type": "ToFloat"}, {"type": "Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}),
    1: ({"type": "ToFloat"}, {"type": "Normalize", "mean": [0.449], "std": [0.226]}),
}  # by channels


class ImageEncoder:
    """RGB pictures of any size -> embeddings (B, e), without any training.

    Pictures are scaled to cover the network's size and cropped at the centre.

    Args:
        network: (B, C, H, W) -> (B, e), put into evaluation mode.
        transform: batch transforms from uint8, as `classification.inputs.transforms` has them.
        size: (H, W) in pixels.
        source: what opens it again: an encoder's section, or a checkpoint's path or address.
        channels: 3, or 1 for pictures in grey.
        unit: embeddings are brought to unit length.
        sigma: standard deviation of the class posterior that the network was trained by, where it was.
    """

    def __init__(
        self,
        network: nn.Module,
        transform: Sequence[Mapping[str, Any]],
        size: tuple[int, int],
        source: dict[str, Any] | str,
        *,
        channels: int = 3,
        unit: bool = True,
        sigma: float | None = None,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.transform = build_transform(transform)
        self.size, self.source, self.channels, self.unit, self.sigma = size, source, channels, unit, sigma

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return weights_digest(self.network)

    def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """A picture in RGB at the network's size, (H, W, C)."""
        return fitted_pixels(picture, self.size, self.channels)

    def embedded(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embeddings (B, e) of pictures as `pixels` gives them."""
        return self(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)).numpy()

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Embeddings (B, e) on the CPU, of pictures (B, C, H, W) uint8."""
        embeddings = self.network(self.transform(pixels).to(self.device)).cpu().float()
        return F.normalize(embeddings, dim=-1) if self.unit else embeddings


def open_encoder(source: str | Path | Mapping[str, Any] | None = None, *, size: int | None = None) -> ImageEncoder:
    """An encoder that is ready to look at pictures.

    Args:
        source: None, the frozen `DEFAULT`; the name of a model of torchvision's or timm's, with its ImageNet weights; an
            encoder's section, such as {type: TorchvisionEncoder, name: resnet18, weights: resnet18.pth, last_layer: layer3};
            or a checkpoint of the classification tree: a file, a run folder or an address.
        size: side in pixels that pictures are brought to; None: the network's own.

    Raises:
        FileNotFoundError, ConnectionError: no such checkpoint or weights.
        ValueError: no such name; an unknown key of the section; a checkpoint of something else; no size.
        ImportError: the model's package is not installed; the message names the extra.
    """
    if isinstance(source, Mapping):
        return _from_section(dict(source), size)
    if source is None:
        return _from_section(dict(DEFAULT), size)
    text = str(source)
    if Path(text).expanduser().exists() or text.startswith(("http://", "https://")) or text.endswith(".pth"):
        return _from_checkpoint(text, size)
    return _from_section(_section_of(text), size)


def _section_of(name: str) -> dict[str, Any]:
    """The section of an encoder that is called by its model's name, with whatever weights are nearest at hand."""
    from torchvision import models

    if name in models.list_models(module=models):
        return {"type": "TorchvisionEncoder", "name": name, "weights": "DEFAULT"}
    from repmet.model_definitions.encoders.timm_models import PACKAGES

    return {"type": "TimmEncoder", "name": name, "weights": "package" if name in PACKAGES else "pretrained"}


def _from_section(section: dict[str, Any], size: int | None) -> ImageEncoder:
    if section.get("type") not in MODELS.module_dict:
        raise UserError(f"an encoder's section names its `type`, such as TorchvisionEncoder, not {section.get('type')!r}")
    try:
        network = MODELS.build({"frozen": True} | section)
    except TypeError as error:  # mmengine puts the class's name before it
        raise UserError(f"the encoder's section {section}: {error}") from None
    channels, side = _shape(network)
    side = size or side or SIDE
    return ImageEncoder(network, _NORMALISED[channels], (side, side), section, channels=channels)


def _shape(network: nn.Module) -> tuple[int, int | None]:
    """The channels of an encoder's images, and their side where it takes one only or was trained at one."""
    if hasattr(network, "image_shape"):
        return network.image_shape[0], network.image_shape[-1]
    trained = getattr(getattr(network, "trunk", None), "pretrained_cfg", None) or {}  # timm's
    return 3, trained.get("input_size", (None,))[-1]


def _from_checkpoint(text: str, size: int | None) -> ImageEncoder:
    """Encoder and head of a trained method, with the transforms of its test; no data of its training is needed."""
    name, file = find_checkpoint(text)
    content, cfg = load_checkpoint(file), experiment_of(file)
    if cfg.get("tree") != "classification" or "state_dict" not in content:
        raise UserError(f"{name}: no classifier, it was trained by an experiment of the {cfg.get('tree')} tree")
    check_experiment(cfg.to_dict(), Path(name))  # somebody else may have written it
    section = dict(cfg.model.encoder) | ({"weights": None} if "weights" in cfg.model.encoder else {})
    section.pop("fresh", None)
    encoder = MODELS.build(section)
    parts = {"encoder": encoder}
    if cfg.model.get("head"):
        parts["head"] = MODELS.build({"in_channels": encoder.out_channels} | dict(cfg.model.head))
    network = nn.Sequential()
    for part, module in parts.items():
        network.add_module(part, module)
    state = {k: v for k, v in content["state_dict"].items() if k.partition(".")[0] in parts}
    check_weights(network, state, name)
    network.load_state_dict(state)
    channels, side = _shape(encoder)
    wanted = size or cfg.data.get("size") or side or (cfg.data.get("arguments") or {}).get("size")
    if wanted is None:
        raise UserError(f"{name}: its experiment does not say the size of its images in pixels; give `size`")
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    return ImageEncoder(
        network,
        list(cfg.get("test_pipeline") or []),
        (height, width),
        text,
        channels=channels,
        unit=cfg.model.get("distance") == "cosine",
        sigma=cfg.model.get("sigma", TRAINED_SIGMA),
    )
