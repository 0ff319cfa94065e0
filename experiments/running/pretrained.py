"""Makes sure, before any training time is spent, that the weights a model starts from are there."""

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.runner import CheckpointLoader

from repmet.experiments.running.checkpoints import load_checkpoint

_TIMEOUT = 20.0  # seconds to wait for a server


def check_pretrained(cfg: Mapping[str, Any]) -> None:
    """Reads every pretrained weight that the model's `init_cfg` and `load_from` name.

    Raises:
        FileNotFoundError: one is neither on disk nor to be downloaded; the message gives the two ways out.
        ValueError: a file is there and is no checkpoint.
    """
    wanted = list(_pretrained(cfg.get("model") or {}, "model"))
    if isinstance(cfg.get("load_from"), str):
        wanted.append(("load_from", cfg["load_from"]))
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        for key, name in wanted:
            _check(key, name)
    finally:
        socket.setdefaulttimeout(before)


def _check(key: str, name: str) -> None:
    section = key.rpartition(".")[0] or key
    ways_out = (
        f"give a local file: --cfg-options {key}=FILE.pth; or train from scratch: --cfg-options {section}=null"
        if section != key
        else f"give a local file: --cfg-options {key}=FILE.pth; or start from the model's own: --cfg-options {key}=null"
    )
    try:
        if "://" in name:
            CheckpointLoader.load_checkpoint(name, map_location="cpu", logger="silent")
        else:
            load_checkpoint(name)
    except ConnectionError as error:
        raise FileNotFoundError(f"{key}: pretrained weights {name} are not there: {error}. Either {ways_out}") from None
    except FileNotFoundError:
        where = Path(name).expanduser().absolute()
        raise FileNotFoundError(f"{key}: pretrained weights {where} are not there. Either {ways_out}") from None


def _pretrained(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """(dotted key, name) of every checkpoint that an `init_cfg` below a node names."""
    if isinstance(node, Mapping):
        if node.get("type") == "Pretrained" and isinstance(node.get("checkpoint"), str):
            yield f"{where}.checkpoint", node["checkpoint"]
        for key, value in node.items():
            yield from _pretrained(value, f"{where}.{key}")
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _pretrained(value, f"{where}.{i}")
