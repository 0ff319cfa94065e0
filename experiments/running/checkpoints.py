"""Checkpoints: written whole or not at all, read without running anything that they hold, each with its experiment."""

import hashlib
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models
from torch import nn

from repmet.data.files.atomic import write_atomically
from repmet.data.files.digest import sha256_of
from repmet.errors import UserError
from repmet.experiments.config.loading import parse_experiment


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
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # whatever reading a file that is none raises: struct.error, IndexError, AssertionError, ...
        if isinstance(error, pickle.UnpicklingError) and (objects := _objects(str(error))):
            raise UserError(
                f"{path}: holds {objects}, and unpickling objects can run code, so it is not loaded. If you trust the file, "
                "save its tensors alone: torch.save({'state_dict': torch.load(PATH, weights_only=False)['state_dict']}, NEW)"
            ) from None
        raise UserError(f"{path}: damaged, or no checkpoint ({_what_it_is(path)})") from None
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
    own = model.state_dict()
    for name, tensor in own.items():
        if not tensor.numel():  # a buffer that takes the size of what it loads
            continue
        if name in state and state[name].shape != tensor.shape:
            raise UserError(
                f"{path}: {name} has shape {tuple(state[name].shape)}, the model's has {tuple(tensor.shape)}: the "
                "checkpoint belongs to another experiment (other classes or sizes); use the experiment it was trained by"
            )
    for what, names in (("lacks", own.keys() - state.keys()), ("has in addition", state.keys() - own.keys())):
        names = sorted(n for n in names if not n.endswith("num_batches_tracked"))
        if names:
            raise UserError(
                f"{path}: {what} {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: the checkpoint "
                "belongs to another experiment; use the experiment it was trained by"
            )


def plain(value: Any, where: str = "checkpoint") -> Any:
    """A copy made of tensors and Python's own types alone, as `weights_only` loading asks.

    Raises:
        TypeError: something else is in it; the message says where.
    """
    if value is None or isinstance(value, torch.Tensor | torch.Size | torch.dtype):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    for kind in (bool, int, float, str, bytes):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        items = ((plain(k, where), plain(v, f"{where}.{k}")) for k, v in value.items())
        return OrderedDict(items) if isinstance(value, OrderedDict) else dict(items)
    if isinstance(value, list | tuple):
        items = [plain(item, f"{where}.{i}") for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, set | frozenset):
        return sorted(plain(item, where) for item in value)
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {"log": torch.from_numpy(np.asarray(log, dtype=np.float64).copy()), "count": plain(count.tolist())}
    raise TypeError(f"{where} is a {type(value).__name__}: a checkpoint holds tensors and plain values only")


def history(value: Mapping) -> HistoryBuffer:
    """The `HistoryBuffer` that `plain` took apart."""
    return HistoryBuffer(value["log"].tolist(), list(value["count"]))


def download(address: str) -> Path:
    """A file of the network, in torch's cache.

    `https://host/best.pth#sha256=HEX` is checked, also where it is in the cache already. Files of one name from different
    addresses are kept apart, but for names that hold a checksum, as torchvision's do.

    Raises:
        ValueError: another checksum, or no checksum behind `#`.
        ConnectionError: it is neither in the cache nor to be had.
    """
    url, _, fragment = address.partition("#")
    if fragment and not re.fullmatch(r"sha256=[0-9a-fA-F]{64}", fragment):
        raise UserError(f"{address}: what follows `#` is the file's checksum, sha256= and 64 hexadecimal digits")
    wanted = fragment.partition("=")[2].lower()
    name = PurePosixPath(unquote(urlsplit(url).path))
    if not re.search(r"-[0-9a-f]{8,}$", name.stem):
        name = name.with_name(f"{name.stem}-{hashlib.sha256(url.encode()).hexdigest()[:12]}{name.suffix}")
    path = Path(torch.hub.get_dir(), "checkpoints", name.name)
    if not path.is_file() or (wanted and sha256_of(path) != wanted):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=wanted or None, progress=False)
        except OSError as error:  # URLError and TimeoutError too
            raise ConnectionError(f"{url} cannot be downloaded ({_first_line(error)})") from None
        except RuntimeError as error:
            raise UserError(f"{url}: another file than was asked for ({_first_line(error)})") from None
    return path


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n") or [""])[0] or type(error).__name__


def _register_safe_loaders() -> None:
    """Puts `weights_only` readers in place of mmengine's, which fall back to unpickling anything."""

    def load_from_local(filename: str, map_location: Any = None) -> dict:
        return load_checkpoint(filename, map_location)

    def load_from_http(filename: str, map_location: Any = None) -> dict:
        return load_checkpoint(download(filename), map_location)

    def load_from_torchvision(filename: str, map_location: Any = None) -> dict:
        return load_checkpoint(download(_named(get_torchvision_models(), filename)), map_location)

    def load_from_openmmlab(filename: str, map_location: Any = None) -> dict:
        return load_checkpoint(download(_named(get_external_models(), filename)), map_location)

    def load_from_nowhere(filename: str, map_location: Any = None) -> dict:
        raise UserError(f"{filename}: this scheme is not supported; download the file and name it")

    for prefixes, loader in (
        ("", load_from_local),
        (("http://", "https://"), load_from_http),
        (("modelzoo://", "torchvision://"), load_from_torchvision),
        (("open-mmlab://", "openmmlab://"), load_from_openmmlab),
        (("pavi://", "mmcls://", r"(\S+\:)?s3://", r"(\S+\:)?petrel://"), load_from_nowhere),
    ):
        CheckpointLoader.register_scheme(prefixes, loader, force=True)


def _named(known: Mapping[str, str], filename: str) -> str:
    name = filename.partition("://")[2]
    if name not in known:
        raise UserError(f"{filename}: no weights of that name")
    return known[name]


_register_safe_loaders()
