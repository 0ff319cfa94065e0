"""What a checkpoint may hold: tensors and Python's own types, which are read without running anything."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


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


def plain_state(scheduler: Any) -> dict:
    """A schedule's position, without the functions that its kind brings along."""
    return {name: value for name, value in scheduler.state_dict().items() if not callable(value)}


def plain_hub(state: dict) -> dict:
    """The message hub's state without what only this process can use."""
    kept = OrderedDict()
    for name, value in state["runtime_info"].items():
        if name == "cfg":  # a text that `meta.experiment` has already
            continue
        try:
            kept[name] = plain(value)
        except TypeError:
            continue
    known = kept.keys() | state["log_scalars"].keys()
    resumed = {name: value for name, value in state["resumed_keys"].items() if name in known}
    return {"log_scalars": state["log_scalars"], "runtime_info": kept, "resumed_keys": resumed}


def to_cpu(value: Any) -> Any:
    """A copy of nested values, their tensors on the CPU and without gradients."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {k: to_cpu(v) for k, v in value.items()}
    return type(value)(to_cpu(v) for v in value) if isinstance(value, list | tuple) else value
