"""Checkpoints: written whole or not at all, read without running anything that they hold, each with its experiment."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from repmet.data.files.atomic import write_atomically
from repmet.data.files.torch_file import check_sums
from repmet.errors import UserError
from repmet.experiments.config.loading import parse_experiment
from repmet.experiments.running.plain_values import plain


def load_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict:
    """Reads a checkpoint with `weights_only=True`: tensors and plain values, never code.

    Args:
        path: a local file.
        map_location: as in `torch.load`.

    Returns:
        A dict with `state_dict` and, in our own checkpoints, `meta`, `optimizer`, `param_schedulers`, `message_hub`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, is no checkpoint, or needs Python objects to be unpickled.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        check_sums(path)
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # whatever reading a file that is none raises: struct.error, IndexError, AssertionError, ...
        if isinstance(error, pickle.UnpicklingError) and (objects := _objects(str(error))):
            raise UserError(
                f"{path}: holds {objects}, and unpickling objects can run code, so it is not loaded. If you trust the file, "
                "save its tensors alone: torch.save({'state_dict': torch.load(PATH, weights_only=False)['state_dict']}, NEW)"
            ) from None
        kind = f"{error}: fetch or save it again" if isinstance(error, zipfile.BadZipFile) else _what_it_is(path)
        raise UserError(f"{path}: damaged, or no checkpoint ({kind})") from None
    if not isinstance(checkpoint, dict):
        raise UserError(f"{path}: no checkpoint, it holds a {type(checkpoint).__name__}")
    _check_form(checkpoint, path)
    return checkpoint


def _objects(message: str) -> str | None:
    """What a refusal of torch's says that a file wants to unpickle; None where it is of bytes that are no pickle at all."""
    named = re.search(r"(?:GLOBAL|Unsupported class) (\S+)", message)
    if named:
        return named[1]
    refused = ("unrecognized function", "Can only build", "Can only create", "was not an allowed")
    return "objects other than tensors" if any(words in message for words in refused) else None


def _what_it_is(path: Path) -> str:
    """What people take for a checkpoint, by the file's beginning: torch's own message says nothing that would help them."""
    with open(path, "rb") as file:
        start = file.read(200)
    for marks, kind in (
        ((b"version https://git-lfs",), "a pointer of git-lfs: fetch the file itself by git lfs pull"),
        ((b"<",), "a web page in the place of the file: download it again"),
        ((b"PK",), "an archive that is cut off, or that torch did not write: fetch or save it again"),
        ((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*"), "a picture"),
    ):
        if start.lstrip().startswith(marks):
            return kind
    if not start:
        return "the file is empty"
    printable = all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)
    return "a text file" if printable else "torch.save did not write it, or not to its end"


def _check_form(checkpoint: dict, path: Path) -> None:
    """Raises UserError where the parts that are read later are not what they are called."""
    meta, state = checkpoint.get("meta", {}), checkpoint.get("state_dict", {})
    experiment = meta.get("experiment", {}) if isinstance(meta, Mapping) else None
    training = meta.get("training", {}) if isinstance(meta, Mapping) else None
    right = {
        "state_dict": isinstance(state, Mapping) and all(isinstance(value, torch.Tensor) for value in state.values()),
        "meta": isinstance(meta, Mapping),
        "meta.experiment": isinstance(experiment, Mapping) and isinstance(experiment.get("yaml", ""), str),
        "meta.training": isinstance(training, Mapping),
    }
    if wrong := [name for name, fine in right.items() if not fine]:
        raise UserError(f"{path}: damaged, or no checkpoint (its {wrong[0]} is none)")


def save_checkpoint(checkpoint: dict, path: str | Path) -> None:
    """Writes a checkpoint of tensors and plain values, whole or not at all."""
    whole = plain(checkpoint)
    write_atomically(path, lambda file: torch.save(whole, file))


def experiment_of(path: str | Path) -> Config:
    """The experiment that a checkpoint was trained by.

    Returns:
        The configuration as `load_experiment` gave it, with `experiment_name`; the tree is `cfg.tree`.

    Raises:
        ValueError: the file holds no experiment (it was not written by `python -m detection.train` or the like).
    """
    return experiment_in(load_checkpoint(path), path)


def experiment_in(checkpoint: Mapping, path: str | Path) -> Config:
    """As `experiment_of`, for a checkpoint that has been read already; `path` is for the messages."""
    refuse_classes(checkpoint, path)
    meta = checkpoint.get("meta")
    experiment = meta.get("experiment") if isinstance(meta, Mapping) else None
    if not isinstance(experiment, Mapping) or "yaml" not in experiment:
        raise UserError(
            f"{path}: embeds no experiment, so it was not written by this project's train commands; "
            "name the experiment's YAML file beside it"
        )
    cfg = parse_experiment(experiment["yaml"], f"the experiment in {path}")
    cfg.experiment_name = experiment["name"]
    return cfg


def refuse_classes(checkpoint: Mapping, path: str | Path) -> None:
    """Raises ValueError where a file holds the classes that `save` of a detector or classifier keeps, and no network."""
    if str(checkpoint.get("format", "")).startswith(("repmet-classes", "repmet-representatives")):
        raise UserError(
            f"{path}: holds classes that were learnt from images, and no network: give it to `load` or --support, with the "
            "checkpoint or encoder that they were learnt with"
        )


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint that a run folder's `last_checkpoint` names (the folder may have moved), or None."""
    folder = Path(folder)
    note = folder / "last_checkpoint"
    if note.is_file():
        path = folder / Path(note.read_text(encoding="utf-8", errors="replace").replace("\0", "").strip()).name
        if path.is_file():
            return path
    numbered = [p for p in folder.glob("*_*.pth") if p.stem.partition("_")[2].isdigit()]
    return max(numbered, key=lambda p: int(p.stem.partition("_")[2]), default=None)


def check_weights(model: nn.Module, state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Raises ValueError where a checkpoint's weights do not fit a model, and names the first that does not."""
    weights = model.state_dict()
    for name, tensor in weights.items():
        if not tensor.numel():  # a buffer that takes the size of what it loads
            continue
        if name in state and state[name].shape != tensor.shape:
            raise UserError(
                f"{path}: {name} has shape {tuple(state[name].shape)}, the model's has {tuple(tensor.shape)}: the "
                "checkpoint belongs to another experiment (other classes or sizes); use the experiment it was trained by"
            )
    for what, names in (("lacks", weights.keys() - state.keys()), ("has in addition", state.keys() - weights.keys())):
        names = sorted(n for n in names if not n.endswith("num_batches_tracked"))
        if names:
            raise UserError(
                f"{path}: {what} {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: the checkpoint "
                "belongs to another experiment; use the experiment it was trained by"
            )
