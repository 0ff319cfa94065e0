"""State dicts in files: read without running anything that they hold, and checked against the model that asks."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from repmet.errors import UserError


def read_state(path: Path) -> Mapping[str, Tensor]:
    """The state dict of a .pth (itself or below `state_dict`) or .safetensors file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or holds no state dict.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (ImportError, PermissionError):
        raise
    except Exception as error:  # whatever reading a file that is none raises
        raise UserError(f"{path} is no file of weights: {_reason(error)}") from None
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict, but {type(state).__name__}")
    return state


def check_state(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str, name: str, fresh: Iterable[str] = ()
) -> dict[str, Tensor]:
    """What a model takes of a state dict: everything that it has but for the layers in `fresh`.

    Args:
        state: what a file holds; it may be more.
        wanted: the model's own state dict.
        path, name: of the file and of the model, for the messages.
        fresh: layers that may be missing.

    Raises:
        ValueError: no such layer in `fresh`; tensors are missing, or of other shapes.
    """
    fresh = tuple(fresh)
    for layer in fresh:
        if not any(_within(key, layer) for key in wanted):
            raise UserError(f"fresh names {layer!r}, which is no layer of {name} as far as it is used")
    keys = [k for k in wanted if not k.endswith("num_batches_tracked") and not any(_within(k, layer) for layer in fresh)]
    missing = [key for key in keys if key not in state]
    if missing:
        layers = list(dict.fromkeys(key.partition(".")[0] for key in missing))
        raise UserError(
            f"{path} lacks {len(missing)} of the {len(keys)} tensors of {name} as far as it is used: {_list(layers)}. "
            f"Cut the encoder before them with last_layer, or let them start at random with fresh={layers}"
        )
    wrong = [f"{key} {tuple(state[key].shape)}" for key in keys if state[key].shape != wanted[key].shape]
    if wrong:
        raise UserError(f"{path} is not of {name}: {_list(wrong)} differ in shape")
    return {key: state[key] for key in keys}


def _within(key: str, layer: str) -> bool:
    return key == layer or key.startswith(layer + ".")


def _list(items: list[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or ["it ends too early"])[0]
