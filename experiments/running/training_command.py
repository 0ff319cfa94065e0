"""The command that a checkpoint was trained by, from the experiment that it embeds."""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from mmengine.config import Config

from repmet.experiments.config.options import parse_options

_ELSEWHERE = ("data.root", "work_dir", "load_from", "resume")  # where a run found and put things, not what it was


def training_command(from_file: Config, trained: Config, path: str, seed: int | None = None) -> str:
    """`python -m TREE.train PATH` with the options that make the experiment the one that was trained.

    Values that are files of one name in different folders count as equal: machines differ in that.

    Args:
        from_file: the experiment as its file has it.
        trained: the experiment that a checkpoint embeds.
        path: the file, as it is to stand in the command.
        seed: of the training; the experiment's own if None.
    """
    options = dict(_differences(from_file.to_dict(), trained.to_dict()))
    seed_of_file = (from_file.get("randomness") or {}).get("seed")
    seed = options.pop("randomness.seed", seed_of_file) if seed is None else seed
    words = ["python", "-m", f"{trained.tree}.train", path]
    words += [] if seed is None or seed == seed_of_file else ["--seed", str(seed)]
    words += ["--cfg-options"] if options else []
    return shlex.join([*words, *(f"{key}={_spelled(value)}" for key, value in options.items())])


def _differences(from_file: Mapping, trained: Mapping, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys a.b.c that differ, with what was trained with; null where it did not have the key."""
    for key in dict.fromkeys([*from_file, *trained]):
        name, before, after = f"{prefix}{key}", from_file.get(key), trained.get(key)
        if name in _ELSEWHERE or before == after or _same_file(before, after):
            continue
        if isinstance(after, Mapping) and after and (before is None or isinstance(before, Mapping)):
            yield from _differences(before or {}, after, f"{name}.")
        else:
            yield name, after


def _same_file(a: Any, b: Any) -> bool:
    return isinstance(a, str) and isinstance(b, str) and "/" in a + b and PurePath(a).name == PurePath(b).name


def _spelled(value: Any) -> str:
    """As YAML on one line; a text without quotes where it is still a text then."""
    if isinstance(value, str) and parse_options([f"x={value}"]) == {"x": value}:
        return value
    return json.dumps(value)
